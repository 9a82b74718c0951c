// Watches one Job and its pods until it is known how the flow run ended.
import { timeoutSignal } from "../../async/clock.ts";
import { sleep } from "../../async/sleep.ts";
import type { Ending, RunOutput } from "../execution.ts";
import { isMissing } from "./cluster/cluster-error.ts";
import { listObjects, readObject } from "./cluster/objects.ts";
import { jobs, pods } from "./cluster/resources.ts";
import { explainByEvents } from "./explain-by-events.ts";
import { type JobEnd, newest, terminationMessage, toEnding } from "./job-ending.ts";
import { JobPods } from "./job-pods.ts";
import { type JobRow, toJobRow } from "./job-row.ts";
import { isFinal, type PodFacts, toPodFacts } from "./pod-facts.ts";
import { readLastLines } from "./pod-output.ts";
import type { PodReports } from "./pod-reports.ts";
import type { JobListener, WatchedNamespace } from "./watched-namespaces.ts";

/** The Job, as far as it is known when the watch begins. */
export interface WatchedJob {
  readonly uid: string;
  readonly name: string;
  readonly namespace: WatchedNamespace;
  /** How many of the last lines of a failed container are read. */
  readonly tailLines: number;
  /** Whether the lines of its container are passed on as they come, and its termination message is the result of a program. */
  readonly writesResult: boolean;
}

/** Where the watch reports to. */
export interface WatchTargets {
  readonly reports: PodReports;
  /** A container of the flow run has started, and maybe this was said before. `end` aborts when its pod has ended. */
  onPodStarted(pod: string, end: AbortSignal): void;
}

/** How often a Job is looked at that the watch may not show, and a flow run that still waits for its pod. */
const lookMs = 60_000;
const lookLimitMs = 30_000;
const lastLinesMs = 10_000;
/** The cluster gives times in whole seconds. */
const resolutionMs = 1_000;
/** The watch of pods may be behind that of Jobs by this time. */
const podLagMs = 2_000;
/** A node reports an end within this time after the API server was away. Source: Kubernetes, pkg/kubelet/status, syncPeriod is 10 s. */
const nodeReportMs = 15_000;
/** After the deletion of a Job, its pods are told to end within this time, unless they are to stay. */
const deletionLagMs = 5_000;

/** Watches the Job. Disposing ends the watch. */
export class JobWatch implements JobListener, Disposable {
  readonly ended: Promise<Ending>;
  /** Resolves when a container has started, or when the Job has ended. */
  readonly started: Promise<void>;
  readonly #pods = new JobPods();
  readonly #over = new AbortController();
  /** Aborts when the ends of pods are not waited for any longer. */
  readonly #hurry = new AbortController();
  readonly #following: Disposable;
  #resolveEnded: (ending: Ending) => void = () => undefined;
  #resolveStarted: () => void = () => undefined;
  #isConcluded = false;
  #isVerifying = false;
  /** Why the worker itself deletes the Job. */
  #deletion: string | null = null;

  constructor(
    private readonly job: WatchedJob,
    private readonly targets: WatchTargets,
  ) {
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.started = new Promise((resolve) => {
      this.#resolveStarted = resolve;
    });
    this.#following = job.namespace.follow(job.uid, this);
    void this.#lookRegularly();
    void explainByEvents(this.job, this, this.targets.reports, this.#over.signal);
  }

  /** Whether a container of the flow run has run. */
  get hasStarted(): boolean {
    return this.pods.some(({ hasStarted }) => hasStarted);
  }

  /** When the first of the running pods started, in ms since 1970 by the clock of the cluster; null if none runs. */
  get startedAt(): number | null {
    const running = this.pods.flatMap(({ phase, since }) => (phase === "Running" ? Date.parse(since ?? "") : []));
    const first = Math.min(...running.filter((time) => !Number.isNaN(time)));
    return Number.isFinite(first) ? first + resolutionMs : null;
  }

  /** Whether it is known how the Job ended. */
  get hasEnded(): boolean {
    return this.#isConcluded;
  }

  /** The pods, as last seen. */
  get pods(): readonly PodFacts[] {
    return this.#pods.all;
  }

  /** What the program wrote to its termination message; an empty text for nothing. */
  get terminationMessage(): string {
    return terminationMessage(this.pods);
  }

  onJob({ outcome }: JobRow): void {
    if (outcome) void this.#conclude(outcome);
  }

  onPod(pod: PodFacts): void {
    const end = this.#pods.put(pod);
    this.targets.reports.onPod(pod);
    if (!pod.hasStarted) return;
    this.#resolveStarted();
    this.targets.onPodStarted(pod.name, end);
  }

  onPodGone(pod: PodFacts): void {
    this.onPod(pod);
    this.#pods.remove(pod.uid);
  }

  onMissing(): void {
    void this.#verifyMissing();
  }

  /** Asks the cluster whether the flow run has ended, because the news of that may be on its way. */
  async looksEnded(): Promise<boolean> {
    const wasAway = this.job.namespace.problem !== null;
    await this.#look();
    if (wasAway && !this.#isConcluded) await this.#podsEnded(nodeReportMs);
    return this.#isConcluded || this.pods.some(({ phase }) => phase === "Succeeded");
  }

  /** The worker deletes the Job. `why` completes "The Kubernetes Job was deleted". */
  expectDeletion(why: string): void {
    this.#deletion = why;
  }

  /** The Job may exist, but its end is not waited for any longer. */
  giveUp(): void {
    this.#hurry.abort();
    void this.#conclude({ kind: "deleted", why: this.#whyDeleted() });
  }

  [Symbol.dispose](): void {
    this.#following[Symbol.dispose]();
    this.#over.abort(new Error("the Job is not watched any more"));
    this.#hurry.abort();
  }

  /** Reads the Job and its pods. What the watch shows may be old, or nothing at all. */
  async #look(): Promise<void> {
    const { name, uid, namespace } = this.job;
    const { signal } = this.#over;
    const options = { signal, limitMs: lookLimitMs };
    try {
      const job = await readObject(namespace.cluster, jobs, namespace.name, name, options);
      await this.#readPods();
      if (job.metadata.uid === uid) this.onJob(toJobRow(job));
      else await this.#conclude({ kind: "deleted", why: this.#whyDeleted() });
    } catch (error) {
      if (isMissing(error)) await this.#conclude({ kind: "deleted", why: this.#whyDeleted() });
    }
  }

  async #readPods(): Promise<void> {
    const { name, uid, namespace } = this.job;
    const options = { signal: this.#over.signal, limitMs: lookLimitMs };
    const found = await listObjects(
      namespace.cluster,
      pods,
      namespace.name,
      { labelSelector: `job-name=${name}` },
      options,
    );
    for (const pod of found.map(toPodFacts)) if (pod.jobUid === uid) this.onPod(pod);
  }

  /** A Job that is not in the list may have lost its label, or it was created after the list. Only the cluster can say. */
  async #verifyMissing(): Promise<void> {
    if (this.#isVerifying || this.#isConcluded) return;
    this.#isVerifying = true;
    await this.#look().finally(() => {
      this.#isVerifying = false;
    });
  }

  async #lookRegularly(): Promise<void> {
    const { signal } = this.#over;
    const { namespace, uid } = this.job;
    while (!this.#isConcluded) {
      await sleep(lookMs, signal);
      if (signal.aborted || this.#isConcluded) return;
      if (namespace.problem !== null || !namespace.jobs.get(uid)) await this.#verifyMissing();
      if (!this.hasStarted && !this.#isConcluded) this.targets.reports.check();
    }
  }

  #whyDeleted(): string {
    return `The Kubernetes Job was deleted${this.#deletion === null ? "" : ` ${this.#deletion}`}.`;
  }

  /** The pods tell more than the Job, and their changes may come later. */
  async #conclude(end: JobEnd): Promise<void> {
    if (this.#isConcluded) return;
    this.#isConcluded = true;
    const isDeleted = end.kind === "deleted";
    if (!isDeleted || this.pods.length > 0) await this.#podsEnded(isDeleted ? deletionLagMs : podLagMs);
    const { writesResult } = this.job;
    const needsPod = end.kind === "failed" || (end.kind === "complete" && writesResult);
    if (needsPod && !this.pods.some(isFinal)) {
      await this.#readPods().catch(() => undefined);
      await this.#podsEnded(0);
    }
    this.#pods.endAll();
    const ending = toEnding(end, this.pods, { waitedFor: this.targets.reports.reason, writesResult });
    const output = end.kind === "failed" ? await this.#readOutput() : undefined;
    this.#resolveEnded(output ? { ...ending, output } : ending);
    this.#resolveStarted();
  }

  async #podsEnded(lagMs: number): Promise<void> {
    await this.#pods.ended(lagMs, this.#hurry.signal);
  }

  async #readOutput(): Promise<RunOutput | undefined> {
    const { namespace, tailLines, writesResult } = this.job;
    const pod = newest(this.pods.filter(({ phase, end, hasStarted }) => (hasStarted || end) && phase !== "Succeeded"));
    // Lines that were passed on are not read again.
    if (tailLines === 0 || pod === undefined || (writesResult && pod.hasStarted)) return undefined;
    return await readLastLines(namespace.cluster, namespace.name, pod, {
      tailLines,
      signal: timeoutSignal(lastLinesMs),
    });
  }
}
