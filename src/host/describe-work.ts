// What the program does, in one line and as one yes or no, for the service manager.
import { monotonicMs } from "../async/clock.ts";
import type { StatusSources } from "../status/read-status.ts";
import { missedPolls, secondsAway } from "./serve-status.ts";

/** A poll loop that has neither begun nor ended a poll for this time on top of the longest poll is stuck. */
const stuckMs = 300_000;

/** Returns what the program does, such as `3 flow runs in flight`. */
export function describeWork(sources: StatusSources): string {
  const { stop, workers } = sources;
  const count = workers.reduce((sum, { runs }) => sum + runs.list().length, 0);
  const inFlight = `${count} flow run${count === 1 ? "" : "s"} in flight`;
  if (stop.drain.aborted) return `Stopping, ${inFlight}`;
  if (workers.length === 0) return "Starting";
  return secondsAway(sources) === undefined ? inFlight : `Waiting for the API, ${inFlight}`;
}

/**
 * Returns false if a poll loop is stuck. An outage is no reason to restart, so failed polls count like others. `longestPollMs`
 * is the longest time that one poll may take with all its retries.
 */
export function isPolling({ workers, stop, api }: StatusSources, longestPollMs: number): boolean {
  if (stop.drain.aborted) return true;
  const maintenanceAt = api?.maintenanceAt() ?? Number.NEGATIVE_INFINITY;
  return workers.every(({ polling, options }) => {
    const limitMs = longestPollMs + Math.max(stuckMs, missedPolls * options.querySeconds * 1000);
    return monotonicMs() - Math.max(polling.turnedAt, maintenanceAt) < limitMs;
  });
}
