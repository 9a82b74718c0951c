// Finds cancelled flow runs by requests, because events do not report all of them. While the event socket is closed, it
// asks every interval. After the socket has opened it asks once, because missed events are not sent again. While the
// socket is open it asks rarely: servers drop events under load, and their events do not name the work pool if the flow
// run's work queue was deleted. Source: prefect _internal/observers.py.
import { filterFlowRuns } from "../../api/flow-runs.ts";
import type { FlowRun, JsonObject } from "../../api/wire.ts";
import type { Worker } from "../worker.ts";

/** The interval of the requests without events. Source: prefect _internal/observers.py, 10 s. */
const usualIntervalMs = 10_000;
/** The interval grows by this factor while events arrive. Nothing is sent while no flow run is in flight. */
const factorWithEvents = 6;
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
  let failures = 0;
  while (!signal.aborted) {
    const ids = worker.runs.list().map(({ flowRun }) => flowRun.id);
    const failure = await tryToEndCancelled(worker, ids, signal);
    if (signal.aborted) return;
    if (ids.length > 0 && (failure === undefined || worker.sockets.eventsConnected)) {
      if (failures >= failuresUntilUnwatched) worker.log.info("Cancelled flow runs are found again.");
      failures = 0;
    } else if (failure !== undefined && ++failures === failuresUntilUnwatched) {
      onUnwatched(worker, failure);
    }
    // A change of the socket ends this wait: an opened socket causes one request, a closed one the shorter interval.
    const isWatched = worker.sockets.eventsConnected && failure === undefined;
    await worker.sockets.eventsChanged.sleep(isWatched ? intervalMs * factorWithEvents : intervalMs, signal);
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
async function tryToEndCancelled(worker: Worker, ids: readonly string[], signal: AbortSignal): Promise<unknown> {
  try {
    for (let start = 0; start < ids.length; start += idsPerCall) {
      const cancelled = await findCancelling(worker, ids.slice(start, start + idsPerCall), signal);
      for (const { id } of cancelled) worker.runs.stop(id, { kind: "cancel" });
    }
    return undefined;
  } catch (error) {
    // The poll loop meets the same failure and decides whether the worker goes on.
    if (!signal.aborted) worker.log.debug({ err: error }, "The search for cancelled flow runs failed");
    return error;
  }
}

/** Returns flow runs with the type CANCELLING, or with the older form: type CANCELLED and name Cancelling. */
async function findCancelling(worker: Worker, ids: readonly string[], signal: AbortSignal): Promise<FlowRun[]> {
  const states: JsonObject[] = [
    { type: { any_: ["CANCELLED"] }, name: { any_: ["Cancelling"] } },
    { type: { any_: ["CANCELLING"] } },
  ];
  const found = await Promise.all(
    states.map((state) => filterFlowRuns(worker.api, { state, id: { any_: [...ids] } }, { signal })),
  );
  return found.flat();
}
