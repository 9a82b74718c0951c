// Reports task runs to the server, in the background. A flow does not wait for it, except at its end.
// Source: prefect server/api/task_runs.py, client/orchestration task runs.

import { wallClockMs } from "../async/clock.ts";
import type { Api } from "./api.ts";

/** A task run that begins. `parent` is the task run in which it was called. */
export interface NewTaskRun {
  readonly id: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly retries: number;
  readonly parent: string | null;
}

/** A state of a task run. */
export interface TaskState {
  readonly type: "RUNNING" | "SCHEDULED" | "COMPLETED" | "FAILED" | "CANCELLED";
  readonly name: string;
  readonly message: string | null;
}

/** The reports of one flow run. The states of one task run are sent one after the other. */
export class TaskReports {
  readonly #last = new Map<string, Promise<void>>();
  #failures = 0;

  constructor(
    private readonly api: Api,
    private readonly flowRunId: string,
    /** Called once, with the reason, if task runs could not be reported. */
    private readonly onFailure: (reason: string) => void,
  ) {}

  /** A task run begins with Running. */
  begin({ id, name, tags, retries, parent }: NewTaskRun): void {
    this.#send(id, "/task_runs/", {
      id,
      name: `${name}-${id.slice(0, 3)}`,
      flow_run_id: this.flowRunId,
      task_key: name,
      dynamic_key: id,
      tags,
      empirical_policy: { retries },
      task_inputs: parent === null ? {} : { __parents__: [{ input_type: "task_run", id: parent }] },
      state: { type: "RUNNING", name: "Running" },
    });
  }

  /** An attempt failed, and the next one begins after a pause. */
  retry(id: string, message: string, delaySeconds: number): void {
    const scheduled_time = new Date(wallClockMs() + delaySeconds * 1000).toISOString();
    this.#setState(id, { type: "SCHEDULED", name: "AwaitingRetry", message }, { scheduled_time });
  }

  /** The next attempt begins. */
  again(id: string): void {
    this.#setState(id, { type: "RUNNING", name: "Retrying", message: null });
  }

  /** A task run ends. */
  end(id: string, state: TaskState): void {
    this.#setState(id, state);
  }

  /** Returns when all was sent. */
  async flush(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }

  /** The server may have decided otherwise, for example on a retry of its own. What happened here counts. */
  #setState(id: string, state: TaskState, details: object = {}): void {
    this.#send(id, `/task_runs/${id}/set_state`, { state: { ...state, state_details: details }, force: true });
  }

  #send(id: string, path: string, body: object): void {
    const before = this.#last.get(id) ?? Promise.resolve();
    const sent = before
      .then(async () => await this.api.post(path, body))
      .catch((error: unknown) => {
        if (this.#failures++ === 0) this.onFailure(error instanceof Error ? error.message : String(error));
      })
      .finally(() => {
        if (this.#last.get(id) === sent) this.#last.delete(id);
      });
    this.#last.set(id, sent);
  }
}
