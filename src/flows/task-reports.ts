// Reports the states of task runs to the server, as events. The server makes the task runs of them.
// Source: prefect utilities/engine emit_task_run_state_change_event, server/services/task_run_recorder.py.
import { randomUUID } from "node:crypto";
import { startTimer, wallClockMs } from "../async/clock.ts";
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
  readonly type: "RUNNING" | "SCHEDULED" | "COMPLETED" | "FAILED" | "CANCELLED" | "CRASHED";
  readonly name: string;
  readonly message: string | null;
}

interface TaskRun extends NewTaskRun {
  state: TaskState | null;
  stateAtMs: number;
  lastEventId: string | null;
  startedAtMs: number;
  /** When the current attempt began, and how long the earlier ones took. */
  attemptAtMs: number;
  ranMs: number;
  attempts: number;
}

/** Events are collected for this time, so that a request has many. */
const collectMs = 250;
/** An event has some 2 kB, and many proxies accept bodies of up to 1 MiB. */
const batchSize = 100;
/** Source: emit_task_run_state_change_event, which shortens messages too. */
const longestMessage = 100_000;

/** The reports of one flow run. A flow does not wait for them, except at its end. */
export class TaskReports {
  readonly #runs = new Map<string, TaskRun>();
  #queue: object[] = [];
  #sending: Promise<void> | undefined;
  /** Ends the pause in which events are collected. */
  #hurry: () => void = () => {};
  #isLast = false;
  /** The flow has ended, so no task run begins any more. */
  #isOver = false;
  #failures = 0;

  constructor(
    private readonly api: Api,
    private readonly flowRunId: string,
    /** Called once, with the reason, if task runs could not be reported. */
    private readonly onFailure: (reason: string) => void,
  ) {}

  /** A task run begins. */
  begin(given: NewTaskRun): void {
    if (this.#isOver) return;
    const now = wallClockMs();
    const times = { stateAtMs: 0, startedAtMs: now, attemptAtMs: now, ranMs: 0 };
    const run: TaskRun = { ...given, ...times, state: null, lastEventId: null, attempts: 0 };
    this.#runs.set(given.id, run);
    this.#enter(run, { type: "RUNNING", name: "Running", message: null });
  }

  /** An attempt failed, and the next one begins after a pause. */
  retry(id: string, message: string, delaySeconds: number): void {
    const scheduled_time = new Date(wallClockMs() + delaySeconds * 1000).toISOString();
    this.#set(id, { type: "SCHEDULED", name: "AwaitingRetry", message }, { scheduled_time });
  }

  /** The next attempt begins. */
  again(id: string): void {
    this.#set(id, { type: "RUNNING", name: "Retrying", message: null });
  }

  /** A task run ends. */
  end(id: string, state: TaskState): void {
    this.#set(id, state);
    this.#runs.delete(id);
  }

  /** The flow has ended, so the task runs that it did not wait for are Crashed, as those of Python flows. */
  endAll(): void {
    this.#isOver = true;
    const state: TaskState = { type: "CRASHED", name: "Crashed", message: "The flow ended before this task run." };
    for (const id of [...this.#runs.keys()]) this.end(id, state);
  }

  /** Returns when all was sent, or given up. Never rejects. */
  async flush(): Promise<void> {
    this.#isLast = true;
    this.#hurry();
    while (this.#sending !== undefined) await this.#sending;
  }

  #set(id: string, state: TaskState, details: object = {}): void {
    const run = this.#runs.get(id);
    if (run) this.#enter(run, state, details);
  }

  #enter(run: TaskRun, state: TaskState, details: object = {}): void {
    // The server takes a state only if it is later than the one before.
    const at = Math.max(wallClockMs(), run.stateAtMs + 1);
    if (run.state?.type === "RUNNING") run.ranMs += at - run.attemptAtMs;
    if (state.type === "RUNNING") {
      run.attempts++;
      run.attemptAtMs = at;
    }
    const event = this.#toEvent(
      run,
      { ...state, message: state.message?.slice(0, longestMessage) ?? null },
      at,
      details,
    );
    run.state = state;
    run.stateAtMs = at;
    run.lastEventId = event.id;
    this.#queue.push(event);
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
  }

  async #send(): Promise<void> {
    while (this.#queue.length > 0) {
      if (!this.#isLast && this.#queue.length < batchSize) await this.#collect();
      const batch = this.#queue.splice(0, batchSize);
      try {
        await this.api.post("/events", batch);
      } catch (error) {
        if (this.#failures++ === 0) this.onFailure(error instanceof Error ? error.message : String(error));
      }
    }
  }

  async #collect(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = startTimer(collectMs, resolve);
      this.#hurry = () => {
        cancel();
        resolve();
      };
    });
  }

  #toEvent(run: TaskRun, state: TaskState, atMs: number, details: object) {
    const at = new Date(atMs).toISOString();
    const isFinal = state.type !== "RUNNING" && state.type !== "SCHEDULED";
    const name = `${run.name}-${run.id.slice(0, 3)}`;
    const before = run.state;
    return {
      id: randomUUID(),
      occurred: at,
      event: `prefect.task-run.${state.name}`,
      resource: {
        "prefect.resource.id": `prefect.task-run.${run.id}`,
        "prefect.resource.name": name,
        "prefect.run-count": String(run.attempts),
        "prefect.state-message": state.message ?? "",
        "prefect.state-name": state.name,
        "prefect.state-timestamp": at,
        "prefect.state-type": state.type,
        "prefect.orchestration": "client",
      },
      related: [
        { "prefect.resource.id": `prefect.flow-run.${this.flowRunId}`, "prefect.resource.role": "flow-run" },
        ...[...run.tags].sort().map((tag) => ({
          "prefect.resource.id": `prefect.tag.${tag}`,
          "prefect.resource.role": "tag",
        })),
      ],
      follows: run.lastEventId,
      payload: {
        intended: { from: before?.type ?? null, to: state.type },
        initial_state: before && { ...before, state_details: {} },
        validated_state: { ...state, state_details: details },
        task_run: {
          name,
          task_key: run.name,
          dynamic_key: run.id,
          empirical_policy: { retries: run.retries },
          tags: run.tags,
          task_inputs: run.parent === null ? {} : { __parents__: [{ input_type: "task_run", id: run.parent }] },
          run_count: run.attempts,
          flow_run_run_count: 1,
          expected_start_time: new Date(run.startedAtMs).toISOString(),
          start_time: new Date(run.startedAtMs).toISOString(),
          ...(isFinal && { end_time: at }),
          total_run_time: run.ranMs / 1000,
        },
      },
    };
  }
}
