// Finds cancelled flow runs by asking, for as long as no event can tell of them: while the socket is away, and once
// whenever it is back, since what happened meanwhile is not told again. Source: prefect _internal/observers.py.
import { filterFlowRuns } from "../api/flow-runs.ts";
import type { FlowRun, JsonObject } from "../api/wire.ts";
import type { Worker } from "./worker.ts";

/** How often it is asked. Source: prefect _internal/observers.py, 10 s. */
const intervalMs = 10_000;
/** As long as a timer can be: while the socket is up there is nothing to ask for. */
const foreverMs = 2 ** 31 - 1;
/** Servers return no more per call. */
const idsPerCall = 200;

/** Watches until `signal` aborts. Never throws. */
export async function watchCancellations(worker: Worker, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await endCancelled(worker, signal);
    // A change of the socket wakes this: up means one more look, down means looking every interval from now on.
    await worker.eventsChanged.sleep(worker.eventsConnected ? foreverMs : intervalMs, signal);
  }
}

/** Asks once which flow runs in flight are being cancelled, and ends them. */
async function endCancelled(worker: Worker, signal: AbortSignal): Promise<void> {
  const ids = worker.inFlight.list().map(({ flowRun }) => flowRun.id);
  try {
    for (let start = 0; start < ids.length; start += idsPerCall) {
      const cancelled = await findCancelling(worker, ids.slice(start, start + idsPerCall), signal);
      for (const { id } of cancelled) worker.inFlight.end(id, { kind: "cancel" });
    }
  } catch (error) {
    // The poll meets the same trouble and decides what becomes of the worker.
    if (!signal.aborted) worker.log.debug({ err: error }, "cancelled flow runs could not be looked for");
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
