// The Jobs and pods of lictor, by namespace. All work pools share one list and one watch of each per namespace.
import type { Logger } from "../../logger.ts";
import type { InfrastructureWatch } from "../pool-type.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { type JobObject, jobs, type PodObject, pods } from "./cluster/resources.ts";
import { Table } from "./cluster/table.ts";
import { poolLabel } from "./job-labels.ts";
import { type JobRow, toJobRow } from "./job-row.ts";
import { type PodFacts, toPodFacts } from "./pod-facts.ts";

/** Is told what happens to one Job. */
export interface JobListener {
  /** The Job is new or has changed. */
  onJob(row: JobRow): void;
  /** A pod of it is new or has changed. */
  onPod(pod: PodFacts): void;
  /** A pod of it is gone, and this is how it was seen last. */
  onPodGone(pod: PodFacts): void;
  /** The Job may be gone. It may also have lost its labels, or it was not in a list. */
  onMissing(): void;
}

/** One namespace of a cluster. */
export class WatchedNamespace implements Disposable {
  readonly jobs: Table<JobObject, JobRow>;
  readonly pods: Table<PodObject, PodFacts>;
  readonly #listeners = new Map<string, JobListener>();

  constructor(
    readonly cluster: Cluster,
    readonly name: string,
    log: Logger,
  ) {
    const common = { cluster, namespace: name, labelSelector: poolLabel, log };
    this.jobs = new Table({
      ...common,
      resource: jobs,
      toRow: toJobRow,
      onChanged: (row) => this.#listeners.get(row.uid)?.onJob(row),
      onDeleted: ({ uid }) => this.#listeners.get(uid)?.onMissing(),
      onSynced: () => this.#findMissing(),
    });
    this.pods = new Table({
      ...common,
      resource: pods,
      toRow: toPodFacts,
      onChanged: (pod) => this.#listenerOf(pod)?.onPod(pod),
      // Its last status is that of its end, unless nobody saw it.
      onDeleted: (pod, last) => this.#listenerOf(pod)?.onPodGone(last ? toPodFacts(last) : pod),
    });
  }

  /** Why changes are not seen now; null if they are. */
  get problem(): string | null {
    return this.jobs.problem ?? this.pods.problem;
  }

  /** Tells the listener what is known of the Job, and all changes, until the result is disposed of. */
  follow(jobUid: string, listener: JobListener): Disposable {
    this.#listeners.set(jobUid, listener);
    for (const pod of this.pods.all()) if (pod.jobUid === jobUid) listener.onPod(pod);
    const row = this.jobs.get(jobUid);
    if (row) listener.onJob(row);
    return { [Symbol.dispose]: () => void this.#listeners.delete(jobUid) };
  }

  /** Whether the Job is followed. */
  isFollowed(jobUid: string): boolean {
    return this.#listeners.has(jobUid);
  }

  [Symbol.dispose](): void {
    this.jobs[Symbol.dispose]();
    this.pods[Symbol.dispose]();
  }

  #listenerOf({ jobUid }: PodFacts): JobListener | undefined {
    return jobUid === null ? undefined : this.#listeners.get(jobUid);
  }

  #findMissing(): void {
    for (const [uid, listener] of this.#listeners) if (!this.jobs.get(uid)) listener.onMissing();
  }
}

/** All namespaces that are watched. */
export class WatchedNamespaces implements Disposable {
  readonly #all = new Map<Cluster, Map<string, WatchedNamespace>>();

  constructor(private readonly log: Logger) {}

  /** Returns the namespace of a cluster. It is watched from then on. */
  of(cluster: Cluster, name: string): WatchedNamespace {
    const ofCluster = this.#all.get(cluster) ?? new Map<string, WatchedNamespace>();
    this.#all.set(cluster, ofCluster);
    const namespace = ofCluster.get(name) ?? new WatchedNamespace(cluster, name, this.log);
    ofCluster.set(name, namespace);
    return namespace;
  }

  /** Returns the state of all watches. */
  watches(): InfrastructureWatch[] {
    return this.all().flatMap(({ name, jobs: ofJobs, pods: ofPods }) => [
      { name: `Jobs in namespace '${name}'`, ageMs: ofJobs.ageMs, problem: ofJobs.problem },
      { name: `pods in namespace '${name}'`, ageMs: ofPods.ageMs, problem: ofPods.problem },
    ]);
  }

  /** Returns the namespaces that are watched. */
  all(): WatchedNamespace[] {
    return [...this.#all.values()].flatMap((ofCluster) => [...ofCluster.values()]);
  }

  [Symbol.dispose](): void {
    for (const namespace of this.all()) namespace[Symbol.dispose]();
  }
}
