// The polls of one worker: in pieces when the answer is too large, on a second connection when there is no answer.
import type { Logger } from "../logger.ts";
import type { Api } from "./api.ts";
import { ResponseTooLargeError } from "./errors.ts";
import { filterFlowRuns } from "./flow-runs.ts";
import { Hedge } from "./hedge.ts";
import { PollHealth } from "./poll-health.ts";
import type { FlowRun, JsonObject, ScheduledFlowRun } from "./wire.ts";
import { getScheduledFlowRuns } from "./work-pools.ts";

/** What a server returns at most, unless asked for less. Source: prefect PREFECT_SERVER_API_DEFAULT_LIMIT. */
const serverLimit = 200;
/** 30 flow runs of the most parameters that a server takes (512 KiB each). In memory an answer takes some times that. */
const largestAnswerBytes = 16 * 1024 * 1024;

/** What polls are made of; the health is told of by `log`. */
export interface PollsOptions {
  workPoolName: string;
  workQueueNames: readonly string[];
  intervalMs: number;
  log: Logger;
}

/** Polls one after the other. */
export class Polls {
  readonly health: PollHealth;
  readonly hedge = new Hedge();
  /** How many flow runs to ask for; undefined for as many as the server returns. */
  #limit: number | undefined;
  #hasMore = false;

  constructor(
    private readonly api: Api,
    private readonly options: PollsOptions,
  ) {
    this.health = new PollHealth(options.intervalMs, options.log);
  }

  /** The last answer was a piece of what there is: the rest can be had as soon as these flow runs are claimed. */
  get hasMore(): boolean {
    return this.#hasMore;
  }

  /**
   * Returns flow runs scheduled before a time, in the order in which they should be taken. When the answer is too large, half
   * as many are asked for, until nothing is left behind. Throws as getScheduledFlowRuns does.
   */
  async scheduled(scheduledBefore: Date, signal: AbortSignal): Promise<ScheduledFlowRun[]> {
    return await this.health.watch(async () => {
      for (;;) {
        try {
          const scheduled = await this.#read(scheduledBefore, signal);
          this.#hasMore = this.#limit !== undefined && scheduled.length >= this.#limit;
          if (!this.#hasMore) this.#limit = undefined;
          return scheduled;
        } catch (error) {
          if (!(error instanceof ResponseTooLargeError) || this.#limit === 1) throw error;
          this.#limit = Math.floor((this.#limit ?? serverLimit) / 2);
          this.options.log.debug(`${error.message}; lictor asks for ${this.#limit} flow runs at a time`);
        }
      }
    }, signal);
  }

  /** Returns the flow runs of these ids; at most 200 of them. */
  async byId(ids: readonly string[], signal: AbortSignal): Promise<FlowRun[]> {
    const filter: JsonObject = { id: { any_: [...ids] } };
    return await filterFlowRuns(this.api, filter, { signal, hedge: this.hedge });
  }

  async #read(scheduledBefore: Date, signal: AbortSignal): Promise<ScheduledFlowRun[]> {
    const { workPoolName, workQueueNames, log } = this.options;
    const repeated = this.hedge.repeatedCount;
    const scheduled = await getScheduledFlowRuns(
      this.api,
      workPoolName,
      { workQueueNames, scheduledBefore, limit: this.#limit },
      { signal, hedge: this.hedge, maxBodyBytes: largestAnswerBytes },
    );
    if (this.hedge.repeatedCount > repeated)
      log.debug("a poll got no answer in time and was repeated on a new connection");
    return scheduled;
  }
}
