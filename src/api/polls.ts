// The polls of one worker. Asks for fewer flow runs if a response is too large. Uses a second connection if there is no
// response.
import type { Logger } from "../logger.ts";
import type { Api } from "./api.ts";
import { ResponseTooLargeError } from "./errors.ts";
import { filterFlowRuns } from "./flow-runs.ts";
import { Hedge } from "./hedge.ts";
import { PollHealth } from "./poll-health.ts";
import type { FlowRun, JsonObject, ScheduledFlowRun } from "./wire.ts";
import { getScheduledFlowRuns } from "./work-pools.ts";

/** The number of flow runs that a server returns at most. Source: prefect PREFECT_SERVER_API_DEFAULT_LIMIT. */
const serverLimit = 200;
/**
 * 30 flow runs with the largest parameters that a server accepts (512 KiB each). The parsed response takes several
 * times that.
 */
const maxResponseBytes = 16 * 1024 * 1024;

/** What a poll asks for. `log` gets the changes of the health. */
export interface PollsOptions {
  workPoolName: string;
  workQueueNames: readonly string[];
  intervalMs: number;
  log: Logger;
}

/** Sends polls one after the other. */
export class Polls {
  readonly health: PollHealth;
  readonly hedge = new Hedge(["poll", "poll-again"]);
  /** How many flow runs a poll asks for. Undefined means as many as the server returns. */
  #limit: number | undefined;
  #hasMore = false;

  constructor(
    private readonly api: Api,
    private readonly options: PollsOptions,
  ) {
    this.health = new PollHealth(options.intervalMs, options.log);
  }

  /** True if the last poll returned only some of the scheduled flow runs. Claim them, then poll again for the rest. */
  get hasMore(): boolean {
    return this.#hasMore;
  }

  /**
   * Returns flow runs scheduled before a time, in the order in which to start them. If the response is too large, polls
   * again for half as many. Throws the errors of getScheduledFlowRuns.
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

  /** Returns the flow runs with these ids. Servers return at most 200. */
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
      { signal, hedge: this.hedge, maxBodyBytes: maxResponseBytes },
    );
    if (this.hedge.repeatedCount > repeated)
      log.debug("a poll got no answer in time and was repeated on a new connection");
    return scheduled;
  }
}
