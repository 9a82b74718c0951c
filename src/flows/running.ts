// The functions of flows and tasks that run now. After a cancellation, the process waits for them, so that they can tidy up.
import { startTimer } from "../async/clock.ts";

const running = new Set<Promise<unknown>>();

/** Counts `ending`, which is returned, as running until it settles. */
export function countAsRunning<T>(ending: Promise<T>): Promise<T> {
  running.add(ending);
  const forget = (): void => void running.delete(ending);
  ending.then(forget, forget);
  return ending;
}

/** Returns when no function of a flow or task runs any more, or after `ms` milliseconds. */
export async function untilNoneRuns(ms: number): Promise<void> {
  let isLate = false;
  const late = new Promise<void>((resolve) => {
    startTimer(ms, () => {
      isLate = true;
      resolve();
    });
  });
  while (running.size > 0 && !isLate) await Promise.race([Promise.allSettled(running), late]);
}
