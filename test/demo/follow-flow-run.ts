// Tells each state change of a flow run as it happens.
import { setTimeout as delay } from "node:timers/promises";
import type { FlowRun, State } from "../../src/api/wire.ts";
import { finalTypes, type PrefectApi } from "../support/prefect-api.ts";

/** A flow run in a final state, with all states it has been in, oldest first. */
export interface FinishedRun {
  flowRun: FlowRun;
  states: State[];
}

// One small request each time; the server has more to do than to answer this.
const INTERVAL_MS = 200;

/** Reports states through `say` until the run has ended; throws when the signal aborts before that. */
export async function followFlowRun(
  api: PrefectApi,
  flowRun: FlowRun,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<FinishedRun> {
  let told = 0;
  for (;;) {
    const states = await api.readStates(flowRun.id);
    for (const { name, timestamp, message } of states.slice(told)) {
      say(`${flowRun.name}: ${name} at ${timestamp?.slice(11, 23)}${message ? ` (${message})` : ""}`);
    }
    told = states.length;
    if (finalTypes.includes(states.at(-1)?.type ?? "SCHEDULED")) return { flowRun, states };
    if (signal.aborted) throw new Error(`${flowRun.name} has not ended in time, it is ${states.at(-1)?.name}.`);
    await delay(INTERVAL_MS);
  }
}
