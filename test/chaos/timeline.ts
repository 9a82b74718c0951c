// Begins what a plan says at its times, and waits for a server that is slower than the plan.
import { setTimeout as delay } from "node:timers/promises";

/** Something to begin. Items of one lane are few at a time, and the others wait meanwhile. */
export interface TimelineItem {
  atMs: number;
  lane: string | null;
  begin: () => Promise<void>;
}

/** More requests at once would only make a slow server slower. */
const laneWidth = 3;

/**
 * Begins the items at their times, and returns when all are over. If a lane is full, the rest of the plan comes later. No
 * more items begin after `limitMs`, after a failure, and when `stop` aborts. Returns how many were left out. Throws the first
 * failure.
 */
export async function followTimeline(
  items: readonly TimelineItem[],
  limitMs: number,
  stop: AbortSignal,
): Promise<number> {
  const startMs = performance.now();
  const elapsedMs = (): number => performance.now() - startMs;
  const begun: Promise<void>[] = [];
  const failures: unknown[] = [];
  const lanes = new Map<string, Set<Promise<void>>>();
  const ordered = [...items].sort((one, other) => one.atMs - other.atMs);
  let lagMs = 0;
  for (const { atMs, lane, begin } of ordered) {
    const waitMs = atMs + lagMs - elapsedMs();
    if (waitMs > 0) await delay(waitMs, undefined, { signal: stop }).catch(() => {});
    const inLane = lane === null ? new Set<Promise<void>>() : (lanes.get(lane) ?? new Set<Promise<void>>());
    if (lane !== null) lanes.set(lane, inLane);
    while (inLane.size >= laneWidth) await Promise.race(inLane);
    lagMs = Math.max(lagMs, elapsedMs() - atMs);
    if (stop.aborted || failures.length > 0 || elapsedMs() > limitMs) break;
    const item = begin()
      .catch((error: unknown) => void failures.push(error))
      .finally(() => inLane.delete(item));
    inLane.add(item);
    begun.push(item);
  }
  await Promise.all(begun);
  if (failures.length > 0) throw failures[0];
  return ordered.length - begun.length;
}
