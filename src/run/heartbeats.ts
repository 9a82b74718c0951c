// Signs of life of a flow run, for automations that look for flow runs which give none. Engines have sent them themselves
// since 3.6.13; before, they were the worker's to send, where a setting asks for it. Source: prefect runner/runner.py (3.5).
import { sleep } from "../async/sleep.ts";
import { isAtLeast } from "../engine/prefect-release.ts";
import type { RunContext } from "./run-context.ts";
import type { RelatedObjects } from "./worker-events.ts";

const sentByEnginesSince = "3.6.13";

/** Sends a heartbeat at once and then every so often, until `over` aborts; none where the engine does. */
export async function sendHeartbeats(context: RunContext, objects: RelatedObjects, over: AbortSignal): Promise<void> {
  const { flowRunHeartbeatSeconds: seconds } = context;
  const python = await context.python;
  if (seconds === null || python.kind === "missing") return;
  if (isAtLeast(python.engine.prefectVersion, sentByEnginesSince)) return;
  while (!over.aborted) {
    context.events.heartbeat(objects);
    await sleep(seconds * 1000, over);
  }
}
