// Finds cancelled flow runs by asking, for as long as no event can tell of them: while the socket is away, once whenever it
// is back, since what happened meanwhile is not told again, and now and then, since servers drop events under load and do
// not name the work pool in those of a flow run whose queue was deleted. Source: prefect _internal/observers.py.
import { filterFlowRuns } from "../../api/flow-runs.ts";
import type { FlowRun, JsonObject } from "../../api/wire.ts";
import type { Worker } from "../worker.ts";

/** How often it is asked. Source: prefect _internal/observers.py, 10 s. */
const usualIntervalMs = 10_000;
/** So much more rarely while events tell of cancellations; nothing is asked while no flow run is in flight. */
const rareness = 6;
/** Servers return no more per call. */
const idsPerCall = 200;

/** So many failures in a row are told of. Source: prefect _internal/observers.py, which asks no more then. */
const failuresUntilUnwatched = 3;

/** Watches until `signal` aborts. Never throws. */
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
    // A change of the socket wakes this: up means one more look at once, down means looking every interval from now on.
    const isAllKnown = worker.sockets.eventsConnected && failure === undefined;
    await worker.sockets.eventsChanged.sleep(isAllKnown ? intervalMs * rareness : intervalMs, signal);
  }
}

/** Neither an event nor an answer tells of cancellations. The first time in an outage is the only one that is told. */
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

/** Asks once which of these flow runs are being cancelled, and ends them. Gives the failure, if there was one. */
async function tryToEndCancelled(worker: Worker, ids: readonly string[], signal: AbortSignal): Promise<unknown> {
  try {
    for (let start = 0; start < ids.length; start += idsPerCall) {
      const cancelled = await findCancelling(worker, ids.slice(start, start + idsPerCall), signal);
      for (const { id } of cancelled) worker.runs.stop(id, { kind: "cancel" });
    }
    return undefined;
  } catch (error) {
    // The poll meets the same trouble and decides what becomes of the worker.
    if (!signal.aborted) worker.log.debug({ err: error }, "cancelled flow runs could not be looked for");
    return error;
  }
}

/** The reference asks for both: the type of its own, and the older form, CANCELLED by the name of Cancelling. */
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
