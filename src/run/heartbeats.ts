// Events that a flow run lives, for automations that look for flow runs which send none. Engines send them themselves
// since 3.6.13. Before, workers did where a setting asked for it. Source: prefect runner/runner.py (3.5).
import { sleep } from "../async/sleep.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** Sends a heartbeat at once and then every so often, until `over` aborts. */
export async function sendHeartbeats(context: RunContext, run: RunRecord, over: AbortSignal): Promise<void> {
  const { flowRunHeartbeatSeconds: seconds } = context.services;
  if (seconds === null) return;
  while (!over.aborted) {
    context.events.heartbeat(run);
    await sleep(seconds * 1000, over);
  }
}
