// The two signals that end a worker and its flow runs.
import { setTimeout as sleep } from "node:timers/promises";
import type { RunningProgram } from "./lictor.ts";
import { signalUntil } from "./program-output.ts";

/** Sends two signals; returns the milliseconds that the worker took to end after both. Throws if it takes `limitMs`. */
export async function tellTwice(worker: RunningProgram, limitMs = 40_000): Promise<number> {
  worker.signal("SIGTERM");
  await worker.waitForOutput(/Taking no new flow runs/, 20_000);
  await signalUntil(worker, "SIGINT", /Ending all flow runs/);
  const toldAt = performance.now();
  const ended = await Promise.race([worker.exited, sleep(limitMs, undefined, { ref: false })]);
  if (!ended) throw new Error(`The worker does not end. Its output: ${worker.stderr}`);
  return performance.now() - toldAt;
}
