// The time limits of a Job: until its pod starts, and until it ends.
import { sleep } from "../../async/sleep.ts";
import type { JobWatch } from "./job-watch.ts";

/** The time limits of a Job, and what they need. */
export interface TimeLimits {
  readonly facts: { readonly podWatchSeconds: number | null; readonly jobWatchSeconds: number | null } | null;
  /** In ms since 1970, by the clock of the cluster. NaN if it is not known. */
  readonly createdAt: number;
  /** The clock of the cluster. */
  readonly clockMs: () => number;
  readonly signal: AbortSignal;
  deleteJob(why: string): Promise<void>;
}

/** Deletes a Job whose pod has not started in time, or that has not ended in time. The deletion comes before the report. */
export async function endLate(
  watch: Pick<JobWatch, "hasStarted" | "hasEnded">,
  { facts, createdAt, clockMs, deleteJob, signal }: TimeLimits,
): Promise<void> {
  const { podWatchSeconds = null, jobWatchSeconds = null } = facts ?? {};
  const wait = async (seconds: number): Promise<boolean> => {
    // The first wait of an adopted Job was begun by another worker.
    const passedMs = Number.isNaN(createdAt) ? 0 : Math.max(0, clockMs() - createdAt);
    await sleep(Math.min(Math.max(0, seconds * 1000 - passedMs), seconds * 1000), signal);
    return !signal.aborted && !watch.hasEnded;
  };
  const ofPod = async (seconds: number): Promise<void> => {
    if (!(await wait(seconds)) || watch.hasStarted) return;
    await deleteJob(`because its pod had not started after ${seconds} s (pod_watch_timeout_seconds)`);
  };
  const ofJob = async (seconds: number): Promise<void> => {
    if (await wait(seconds)) await deleteJob(`because it had not ended after ${seconds} s (job_watch_timeout_seconds)`);
  };
  await Promise.all([podWatchSeconds && ofPod(podWatchSeconds), jobWatchSeconds && ofJob(jobWatchSeconds)]);
}
