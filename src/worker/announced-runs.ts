// Flow runs to come: the event stream has told of them and no poll has returned them yet, or a poll has, ahead of their
// time. Decides when to poll again because of them.
import type { FlowRun, ScheduledFlowRun } from "../api/wire.ts";
import type { BothClocks } from "../async/clock.ts";

/** How soon a flow run is asked for again that is due, by the server's own word, and was not returned. */
const retryAfterMs = 300;
/** Beyond this the regular poll has to do; an id and a time are some 100 bytes. */
const maxRemembered = 10_000;

/** What is known about an announced flow run: nothing yet, or when it is to be polled for, on the monotonic clock. */
type Announced = { kind: "unread" } | { kind: "due"; at: number; last: boolean };

/** Announced flow runs by id. */
export class AnnouncedRuns {
  readonly #runs = new Map<string, Announced>();

  constructor(private readonly prefetchMs: number) {}

  /** An event says that this flow run is scheduled. */
  announce(flowRunId: string): void {
    if (this.#runs.size < maxRemembered) this.#runs.set(flowRunId, { kind: "unread" });
  }

  /** Whether an event, or an earlier poll that looked ahead, has told of this flow run. */
  has(flowRunId: string): boolean {
    return this.#runs.has(flowRunId);
  }

  /** Forgets flow runs that a poll has returned. */
  forget(flowRunIds: Iterable<string>): void {
    for (const id of flowRunIds) this.#runs.delete(id);
  }

  /** Of what a poll has returned gives the flow runs to start now, and keeps the others for their time minus prefetch. */
  keepLater(returned: readonly ScheduledFlowRun[], now: BothClocks): FlowRun[] {
    const flowRuns = returned.map(({ flow_run }) => flow_run);
    const later = flowRuns.filter((flowRun) => this.#dueAt(flowRun, now) > now.monotonicMs);
    this.forget(flowRuns.map(({ id }) => id));
    this.read([], later, now);
    return flowRuns.filter((flowRun) => !later.includes(flowRun));
  }

  /** Ids that a poll did not return and whose time is not known; at most 200, what one filter may return. */
  unread(): string[] {
    const ids = [...this.#runs].flatMap(([id, run]) => (run.kind === "unread" ? [id] : []));
    return ids.slice(0, 200);
  }

  /**
   * Takes what the server says about flow runs that were asked for. Those scheduled for later are due at their time minus
   * prefetch; one that is due now and was not returned (the poll was faster than the server's own commit, or a limit or a
   * pause holds it back) is asked for once more; all others are taken care of.
   */
  read(asked: readonly string[], flowRuns: readonly FlowRun[], now: BothClocks): void {
    this.forget(asked);
    for (const flowRun of flowRuns) {
      if (flowRun.state_type !== "SCHEDULED") continue;
      const at = this.#dueAt(flowRun, now);
      if (at > now.monotonicMs) this.#runs.set(flowRun.id, { kind: "due", at, last: false });
      else this.#runs.set(flowRun.id, { kind: "due", at: now.monotonicMs + retryAfterMs, last: true });
    }
  }

  /** Milliseconds until the next announced flow run is due, infinite if there is none. */
  dueInMs(now: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const run of this.#runs.values()) if (run.kind === "due") earliest = Math.min(earliest, run.at);
    return Math.max(0, earliest - now);
  }

  /** Called before a poll: those now due are its to find, and are read again if it should not. */
  beforePoll(now: number): void {
    for (const [id, run] of this.#runs) {
      if (run.kind !== "due" || run.at > now) continue;
      if (run.last) this.#runs.delete(id);
      else this.#runs.set(id, { kind: "unread" });
    }
  }

  /** On the monotonic clock. NaN without a time, which is not later than anything. */
  #dueAt({ next_scheduled_start_time, expected_start_time }: FlowRun, now: BothClocks): number {
    const dueAt = Date.parse(next_scheduled_start_time ?? expected_start_time ?? "") - this.prefetchMs;
    return now.monotonicMs + (dueAt - now.wallMs);
  }
}
