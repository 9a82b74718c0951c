// The progress of a program as an artifact of its flow run, which user interfaces show as a bar.
import { createArtifact, findProgressArtifact, updateArtifact } from "../api/artifacts.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import type { Progress } from "./program-lines.ts";
import { reportInBackground } from "./report.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** A program may print its progress with each row. The server gets it at most this often. */
const pauseMs = 1_000;
/** The last value is sent within this time before the end is reported. */
const lastMs = 5_000;

/** Sends the progress of one flow run. Nothing depends on it, so a failure is only logged. */
export class ProgressArtifact implements Progress {
  #wanted: number | null = null;
  #sent: number | null = null;
  #id: string | undefined;
  #isSending = false;
  readonly #over = new AbortController();
  #last: Promise<void> = Promise.resolve();

  constructor(
    private readonly context: RunContext,
    private readonly run: RunRecord,
  ) {}

  set(value: number): void {
    this.#wanted = value;
    if (this.#isSending) return;
    this.#isSending = true;
    this.#last = new Promise((resolve) => {
      reportInBackground(this.context, this.run, "progress", async ({ signal }) => {
        await this.#send(signal).finally(() => {
          this.#isSending = false;
          resolve();
        });
      });
    });
  }

  async end(): Promise<void> {
    this.#over.abort();
    await waitAtMost(this.#last, lastMs, new AbortController().signal);
  }

  async #send(signal: AbortSignal): Promise<void> {
    while (this.#wanted !== null && this.#wanted !== this.#sent) {
      const value = this.#wanted;
      await this.#sendValue(value, signal);
      this.#sent = value;
      await sleep(pauseMs, this.#over.signal);
    }
  }

  async #sendValue(value: number, signal: AbortSignal): Promise<void> {
    const { api } = this.context;
    const { flowRun, startedAt } = this.run;
    // An earlier worker may have created it.
    if (this.#id === undefined && startedAt === null)
      this.#id = await findProgressArtifact(api, flowRun.id, { signal });
    if (this.#id !== undefined) return await updateArtifact(api, this.#id, value, { signal });
    const artifact = { type: "progress", key: null, description: null, data: value, flow_run_id: flowRun.id } as const;
    this.#id = await createArtifact(api, artifact, { signal });
  }
}
