// Checks whether the events of a worker have arrived in the server's database, and sends missing ones again. The
// message broker between the processes of a server may lose events, and nothing else would notice.
import { ApiError } from "../api/errors.ts";
import type { PrefectEvent } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import type { Logger } from "../logger.ts";
import { type EventsApi, findStoredEvents, postEvents } from "./post-events.ts";

/**
 * The server ignores an id that it has published within the last 5 minutes, so an earlier repetition would have no
 * effect.
 * Source: prefect server/utilities/messaging/memory.py _recently_seen_messages.
 */
const settledMs = 360_000;
const intervalMs = 60_000;
/** How many events are kept until the check. At 1 KB each this is 1 MB. Beyond it, the oldest are not checked. */
const maxObserved = 1000;
/** How many events one request may ask for. Source: prefect server/events/storage INTERACTIVE_PAGE_SIZE. */
const pageSize = 50;

/** An event, when it was sent last, and whether that was the second time. */
interface Observed {
  event: PrefectEvent;
  sentAtMs: number;
  wasRepeated: boolean;
}

/** The events of one worker that the server has accepted. */
export class StoredEvents {
  #observed: Observed[] = [];
  /** True if the server has stored at least one event. */
  #hasFoundAny = false;
  #isDisabled = false;
  #hasWarned = false;

  /** `settledMs` is the age at which an event must be stored. `intervalMs` is the time between two checks. */
  constructor(
    private readonly api: EventsApi,
    private readonly log: Logger,
    private readonly times: { settledMs: number; intervalMs: number } = { settledMs, intervalMs },
  ) {}

  /** Adds events that the server has accepted, for a later check. */
  observe(events: readonly PrefectEvent[]): void {
    if (this.#isDisabled) return;
    const sentAtMs = monotonicMs();
    this.#observed.push(...events.map((event) => ({ event, sentAtMs, wasRepeated: false })));
    this.#observed.splice(0, this.#observed.length - maxObserved);
  }

  /** Checks until `signal` aborts, or until the server turns out not to store events. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#isDisabled) {
      await sleep(this.times.intervalMs, signal);
      const dueMs = monotonicMs() - this.times.settledMs;
      const due = this.#observed.filter(({ sentAtMs }) => sentAtMs <= dueMs);
      for (let start = 0; start < due.length && !signal.aborted; start += pageSize) {
        await this.#check(due.slice(start, start + pageSize), signal).catch((error: unknown) => {
          this.log.debug({ err: error }, "The worker's events could not be looked up.");
          // The worker lacks the permission to read events, or the server does not have the route.
          if (error instanceof ApiError && error.status < 500) this.#isDisabled = true;
        });
      }
    }
    this.#observed = [];
  }

  /**
   * Sends the events that the server has not stored so far once more, until `signal` aborts. The program ends before
   * `run` would look for them. The server ignores those that it has published and will store soon. An event that it lost
   * before that is stored, for example if the process with its socket was killed. Never throws.
   */
  async finish(signal: AbortSignal): Promise<void> {
    const unproven = this.#observed.filter(({ wasRepeated }) => !wasRepeated).map(({ event }) => event);
    try {
      for (let start = 0; start < unproven.length && !signal.aborted && !this.#isDisabled; start += pageSize) {
        const page = unproven.slice(start, start + pageSize);
        const stored = await findStoredEvents(
          this.api,
          page.map(({ id }) => id),
          signal,
        );
        const missing = page.filter(({ id }) => !stored.has(id));
        if (missing.length > 0) await postEvents(this.api, missing, signal);
      }
    } catch (error) {
      this.log.debug({ err: error }, "The worker's last events could not be looked up.");
    }
  }

  async #check(due: readonly Observed[], signal: AbortSignal): Promise<void> {
    const ids = due.map(({ event }) => event.id);
    const stored = await findStoredEvents(this.api, ids, signal);
    this.#hasFoundAny ||= stored.size > 0;
    const missing = due.filter(({ event }) => !stored.has(event.id));
    const repeated = missing.filter(({ wasRepeated }) => !wasRepeated);
    if (repeated.length > 0) {
      const events = repeated.map(({ event }) => event);
      await postEvents(this.api, events, signal);
      this.#reportLoss(`The server had lost ${repeated.length} of ${due.length} worker events, which were sent again.`);
    }
    const lost = missing.length - repeated.length;
    if (lost > 0 && !this.#hasFoundAny) {
      this.log.debug("The server stores no events, so worker events are not looked up any more.");
      this.#isDisabled = true;
    } else if (lost > 0) {
      this.log.debug(`${lost} worker events are missing although they were sent again.`);
    }
    this.#observed = this.#observed.filter((each) => !due.includes(each));
    this.#observed.push(...repeated.map((each) => ({ ...each, sentAtMs: monotonicMs(), wasRepeated: true })));
  }

  /** Warns once. A server that has stored no event so far may store none at all, so then the loss is not certain. */
  #reportLoss(message: string): void {
    const shouldWarn = this.#hasFoundAny && !this.#hasWarned;
    this.log[shouldWarn ? "warn" : "debug"](
      `${message} Its message broker probably drops messages; automations on them may fire late.`,
    );
    this.#hasWarned ||= shouldWarn;
  }
}
