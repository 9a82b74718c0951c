// Heartbeat events of a flow run, which automations use to find flow runs that died. Engines send them since 3.6.13. For
// older engines the worker sends them if a setting asks for it. Source: prefect runner/runner.py (3.5).
import { sleep } from "../async/sleep.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** Sends a heartbeat at once and then at the interval of the setting, until `over` aborts. Never throws. */
export async function sendHeartbeats(context: RunContext, run: RunRecord, over: AbortSignal): Promise<void> {
  const { flowRunHeartbeatSeconds: seconds } = context.services;
  if (seconds === null) return;
  while (!over.aborted) {
    context.events.heartbeat(run);
    await sleep(seconds * 1000, over);
  }
}
