// Finds cancelled flow runs by requests, because events do not report all of them. A server drops events under load, a
// half-open socket looks like a quiet one, and events do not name the work pool if the flow run's work queue was deleted.
// One request covers all flow runs in flight, and nothing is sent while there are none. After the event socket has opened,
// it asks at once, because missed events are not sent again. Source: prefect _internal/observers.py.
import { filterFlowRuns } from "../../api/flow-runs.ts";
import { Hedge } from "../../api/hedge.ts";
import type { RequestOptions } from "../../api/request-options.ts";
import type { FlowRun, JsonObject } from "../../api/wire.ts";
import { clampedPoissonMs } from "../../async/jitter.ts";
import type { Worker } from "../worker.ts";

/** The mean interval of the requests without events. Source: prefect _internal/observers.py, 10 s. */
const usualIntervalMs = 10_000;
/** With jitter, a request follows the one before within 15.6 s. So a cancellation without an event takes less than 20 s. */
const factorWithEvents = 1.2;
/** Many workers must not ask at once. */
const jitterFactor = 0.3;
/** The most flow runs that a server returns per request. */
const idsPerCall = 200;

/** After so many failures in a row an error is logged. Source: prefect _internal/observers.py, which stops then. */
const failuresUntilUnwatched = 3;

/** Watches until `signal` aborts. `intervalMs` is the interval without events. Never throws. */
export async function watchCancellations(
  worker: Worker,
  signal: AbortSignal,
  intervalMs = usualIntervalMs,
): Promise<void> {
  // The open connections may be half-open too.
  const hedge = new Hedge(["watch", "watch-again"]);
  let failures = 0;
  while (!signal.aborted) {
    const ids = worker.runs.list().map(({ flowRun }) => flowRun.id);
    const failure = await tryToEndCancelled(worker, ids, hedge, signal);
    if (signal.aborted) return;
    if (ids.length > 0 && (failure === undefined || worker.sockets.eventsConnected)) {
      if (failures >= failuresUntilUnwatched) worker.log.info("Cancelled flow runs are found again.");
      failures = 0;
    } else if (failure !== undefined && ++failures === failuresUntilUnwatched) {
      onUnwatched(worker, failure);
    }
    // A change of the socket ends this wait: an opened socket causes one request, a closed one the shorter interval.
    const isWatched = worker.sockets.eventsConnected && failure === undefined;
    const meanMs = isWatched ? intervalMs * factorWithEvents : intervalMs;
    await worker.sockets.eventsChanged.sleep(clampedPoissonMs(meanMs, jitterFactor, worker.services.random), signal);
  }
}

/** Called once per outage: neither events nor requests report cancellations. */
function onUnwatched(worker: Worker, failure: unknown): void {
  const failed = "Cancellation polling task failed.";
  if (worker.options.cancellation.crashOnFailure) {
    const count = worker.runs.list().length;
    worker.log.error({ err: failure }, `${failed} Ending ${count} flow run(s), since they could not be cancelled`);
    worker.runs.stopAll({ kind: "kill", by: "could not watch for cancellations" });
  } else {
    const meanwhile = "Execution will continue, but flow runs are cancelled only once the server answers again";
    worker.log.error({ err: failure }, `${failed} ${meanwhile}`);
  }
}

/** Asks once which of these flow runs are Cancelling, and stops them. Returns the error if the request failed. */
async function tryToEndCancelled(
  worker: Worker,
  ids: readonly string[],
  hedge: Hedge,
  signal: AbortSignal,
): Promise<unknown> {
  try {
    for (let start = 0; start < ids.length; start += idsPerCall) {
      const cancelled = await findCancelling(worker, ids.slice(start, start + idsPerCall), { hedge, signal });
      for (const { id } of cancelled) worker.runs.stop(id, { kind: "cancel" });
    }
    return undefined;
  } catch (error) {
    // The poll loop meets the same failure and decides whether the worker goes on.
    if (!signal.aborted) worker.log.debug({ err: error }, "The search for cancelled flow runs failed");
    return error;
  }
}

/**
 * Returns flow runs with the type CANCELLING, or with the older form: type CANCELLED and name Cancelling. The reference sends
 * a request for each of the two.
 */
async function findCancelling(worker: Worker, ids: readonly string[], options: RequestOptions): Promise<FlowRun[]> {
  const state: JsonObject = { operator: "or_", type: { any_: ["CANCELLING"] }, name: { any_: ["Cancelling"] } };
  const found = await filterFlowRuns(worker.api, { state, id: { any_: [...ids] } }, options);
  // A state of any type can have any name.
  return found.filter(({ state_type: type }) => type === "CANCELLING" || type === "CANCELLED");
}
