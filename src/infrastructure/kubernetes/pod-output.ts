// Passes on what the container of a flow run prints, also after another worker read the first part.
import { join } from "node:path";
import { longestTimerMs } from "../../async/clock.ts";
import { LinkedController } from "../../async/linked-controller.ts";
import { sleep } from "../../async/sleep.ts";
import type { Logger } from "../../logger.ts";
import type { LinesSettled } from "../../process/stored-position.ts";
import type { RunOutput } from "../execution.ts";
import { type LinesUntil, LogPosition, toTimedLine } from "../log-position.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { followLog, readLog } from "./cluster/container-logs.ts";
import { mainContainer, type PodFacts } from "./pod-facts.ts";

/** A pod, and where its lines go. */
export interface OutputSource {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly pod: string;
  /** Where the position is stored for the next worker; null for nowhere. */
  readonly directory: string | null;
  /** Another worker may have read the first part. Without a stored position, only new lines are passed on. */
  readonly isAdopted: boolean;
  readonly onLine: (text: string) => void;
  /** Tells when the lines have arrived; null if that is at once. */
  readonly settled: LinesSettled | null;
  /** Aborts when the pod has ended. */
  readonly end: AbortSignal;
  readonly log: Logger;
}

const positionName = "pod-output.position";
/** The pause before the output is read again, after the cluster ended it. It grows while there is nothing to read. */
const reopenMs = 1_000;
const longestReopenMs = 30_000;

/** The output of the container in one pod. */
export class PodOutput implements AsyncDisposable {
  readonly #over = new AbortController();
  readonly #following: Promise<void>;
  readonly #position: LogPosition;

  constructor(private readonly source: OutputSource) {
    const { directory, settled } = source;
    this.#position = new LogPosition(directory === null ? null : join(directory, positionName), settled);
    this.#following = this.#follow().catch((error: unknown) => {
      if (!this.#over.signal.aborted) source.log.debug({ err: error }, `The output of pod ${source.pod} was not read`);
    });
  }

  /** Resolves when the container has ended and its lines were passed on. Never rejects. */
  get ended(): Promise<void> {
    return this.#following;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error("the output is not read any more"));
    await this.#following;
    await this.#position.finish();
  }

  async #follow(): Promise<void> {
    const { cluster, namespace, pod, end, log, isAdopted } = this.source;
    const { signal } = this.#over;
    using pause = new LinkedController(signal, end);
    await (isAdopted ? this.#position.restore(() => this.#readLast()) : this.#position.begin());
    for (let [isLast, pauseMs] = [false, reopenMs]; !isLast && !signal.aborted; ) {
      // A connection may be cut without an error, so the rest is read once more after the end.
      isLast = end.aborted;
      const selection = { container: mainContainer, timestamps: true, ...this.#since() };
      try {
        // The response begins with the first line.
        const options = { signal, limitMs: longestTimerMs, retries: 0 };
        this.#position.reopen();
        for await (const line of followLog(cluster, namespace, pod, selection, options)) this.#pass(line);
        pauseMs = reopenMs;
      } catch (error) {
        if (!signal.aborted) log.debug({ err: error }, `The output of pod ${pod} is read again`);
      }
      if (!isLast) await sleep(pauseMs, pause.signal);
      pauseMs = Math.min(2 * pauseMs, longestReopenMs);
    }
  }

  #pass(line: string): void {
    const text = this.#position.pass(line);
    if (text === null) return;
    this.source.onLine(text);
    this.#position.note();
  }

  /** The API server takes whole seconds only. */
  #since(): { sinceTime?: string } {
    const { at } = this.#position;
    if (at === 0n) return {};
    return { sinceTime: new Date(Number(at / 1_000_000_000n) * 1000).toISOString().replace(/\.\d+/, "") };
  }

  /** Returns the last line's time, by the clock of the node. */
  async #readLast(): Promise<LinesUntil> {
    const { cluster, namespace, pod } = this.source;
    const selection = { container: mainContainer, timestamps: true, tailLines: 1 };
    const last = await readLog(cluster, namespace, pod, selection, { signal: this.#over.signal });
    return { at: toTimedLine(last.trimEnd()).at ?? 0n, count: 1 };
  }
}

/**
 * Returns the last lines of a failed pod: of the container that failed, else of its instance before. Returns undefined if
 * there are none, or if they cannot be read, because the pod is gone.
 */
export async function readLastLines(
  cluster: Cluster,
  namespace: string,
  pod: PodFacts,
  { tailLines, signal }: { tailLines: number; signal: AbortSignal },
): Promise<RunOutput | undefined> {
  const container = pod.end?.container ?? mainContainer;
  for (const previous of pod.restarts > 0 ? [false, true] : [false]) {
    const selection = { container, tailLines, ...(previous && { previous }) };
    const text = await readLog(cluster, namespace, pod.name, selection, { signal, retries: 1 }).catch(() => "");
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    if (lines.length > 0) return { of: `container '${container}' in pod '${pod.name}'`, lines };
  }
  return undefined;
}

/** The output of the pods of a Job, which are several if Kubernetes starts them again. */
export class PodOutputs implements AsyncDisposable {
  readonly #outputs = new Map<string, PodOutput>();

  /** The source of each pod. Another worker may have read the first part of the first pod only. */
  constructor(private readonly source: Omit<OutputSource, "pod" | "end">) {}

  /** Follows the output of a pod. After `end`, no more comes. */
  follow(pod: string, end: AbortSignal): void {
    if (this.#outputs.has(pod)) return;
    const isAdopted = this.source.isAdopted && this.#outputs.size === 0;
    this.#outputs.set(pod, new PodOutput({ ...this.source, pod, end, isAdopted }));
  }

  /** Resolves when all pods have ended and their lines were passed on. */
  async ended(): Promise<void> {
    await Promise.all([...this.#outputs.values()].map((output) => output.ended));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#outputs.values()].map((output) => output[Symbol.asyncDispose]()));
  }
}
