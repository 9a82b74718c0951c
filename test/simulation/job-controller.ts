// The controllers of a cluster in the simulation: Jobs get pods, and end as these end. Deleted Jobs take their pods with them, and
// ended ones have a time to live. Source: Kubernetes 1.34.4, pkg/controller/job, garbagecollector and ttlafterfinished.
import type { JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { type ApiAnswer, type ApiServer, type Reactions, refusal, type StoredMeta } from "./api-server.ts";
import type { ContainerEngineParts } from "./container-engine.ts";
import { flowRunOf, isFinal, metaOf, type Nodes } from "./nodes.ts";

type JobStatus = NonNullable<JobObject["status"]>;
type Condition = NonNullable<JobStatus["conditions"]>[number];

/** The Job has not counted a pod with it. */
const tracking = "batch.kubernetes.io/job-tracking";
const foreground = "foregroundDeletion";
/** The pods have no grace period of their own. */
const graceSeconds = 30;

/** All controllers. */
export class JobController {
  /** The uids of Jobs whose pod is refused now, for example by a quota. */
  readonly #refused = new Set<string>();
  /** Names of Jobs that have had a pod. */
  readonly #withPods = new Set<string>();
  /** What it does with requests. */
  readonly reactions: Reactions;

  constructor(
    private readonly api: ApiServer,
    private readonly nodes: Nodes,
    private readonly parts: ContainerEngineParts,
  ) {
    nodes.onChanged = ({ metadata: { uid, ownerReferences = [] } }) => this.#soon(uid, ownerReferences[0]?.uid ?? "");
    this.reactions = {
      onJobCreated: ({ metadata: { uid } }) => this.#createPod(uid),
      deleteJob: (job, policy) => this.deleteJob(job, policy),
      eventsAbout: (uidOrName) => [
        ...(this.#refused.has(uidOrName) ? [failedCreate] : []),
        ...(this.#withPods.has(uidOrName) ? [successfulCreate] : []),
      ],
      refusalOf: (manifest) => this.#refusalOf(manifest),
    };
  }

  /** Deletes a Job. Its pods are told to end a little later. */
  deleteJob(job: JobObject, policy: string): void {
    const { metadata } = job;
    if (policy === "Foreground") {
      if (metadata.deletionTimestamp) return;
      const deleted = { deletionTimestamp: this.api.time(), finalizers: [foreground] };
      this.api.put("jobs", { ...job, metadata: { ...metadata, ...deleted } });
    } else this.api.remove("jobs", job);
    this.nodes.act(this.#lagMs(), () => this.#collect(metadata.uid));
  }

  /** Tells a pod to end. One that is on no node, or has ended, is gone as soon as its Job has counted it. */
  deletePod(pod: PodObject, why: string): void {
    const { metadata, spec } = pod;
    if (metadata.deletionTimestamp) return;
    const isOver = isFinal(pod) || !spec?.nodeName;
    if (!isFinal(pod)) this.parts.truthOf(flowRunOf(pod)).losses.push(why);
    const seconds = isOver ? 0 : graceSeconds;
    const told = { deletionTimestamp: this.api.time(seconds * 1_000), deletionGracePeriodSeconds: seconds };
    this.nodes.setStatus({ ...pod, metadata: { ...metadata, ...told } }, {});
    if (!isOver) this.nodes.terminate({ ...pod, metadata: { ...metadata, ...told } }, why);
  }

  /** Drives a pod out, as the drain of its node does. */
  evictPod(pod: PodObject, reason: string): void {
    if (pod.metadata.deletionTimestamp || isFinal(pod)) return;
    const conditions = [
      ...(pod.status?.conditions ?? []),
      { type: "DisruptionTarget", status: "True", reason } as const,
    ];
    this.nodes.setStatus(pod, { conditions });
    this.deletePod(this.api.pods.get(pod.metadata.name) as PodObject, "evicted");
  }

  /** Ends a pod whose node is gone for good. */
  forcePod(pod: PodObject): void {
    const deletionTimestamp = pod.metadata.deletionTimestamp ?? this.api.time();
    const metadata = { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: 0 };
    const condition = { type: "DisruptionTarget", status: "True", reason: "DeletionByPodGC" } as const;
    const conditions = [...(pod.status?.conditions ?? []), condition];
    const status = isFinal(pod) ? {} : ({ phase: "Failed", conditions } as const);
    if (!isFinal(pod)) this.parts.truthOf(flowRunOf(pod)).losses.push("its node is gone");
    this.nodes.setStatus({ ...pod, metadata }, status);
  }

  #jobOf(uid: string): JobObject | undefined {
    return [...this.api.jobs.values()].find(({ metadata }) => metadata.uid === uid);
  }

  #podsOf(uid: string): PodObject[] {
    return [...this.api.pods.values()].filter(({ metadata }) => metadata.ownerReferences?.[0]?.uid === uid);
  }

  /** Controllers see changes a little later. */
  #lagMs(): number {
    const { random, faults } = this.parts;
    return faults.happens("controller slow") ? random() * 10_000 : random() * 300;
  }

  #soon(podUid: string, jobUid: string): void {
    this.nodes.act(this.#lagMs(), () => this.#sync(podUid, jobUid));
  }

  #refusalOf(manifest: JobObject): ApiAnswer | null {
    const { faults, truthOf } = this.parts;
    const { losses } = truthOf(flowRunOf((manifest.spec as { template: { spec: unknown } }).template));
    if (!faults.happens("start failed")) return null;
    losses.push("its Job was refused");
    return refusal(422, "Invalid", `Job.batch "${manifest.metadata.name}" is invalid`);
  }

  #createPod(jobUid: string): void {
    const { faults, random, nextPid } = this.parts;
    this.nodes.act(this.#lagMs(), () => {
      const job = this.#jobOf(jobUid);
      if (!job || job.metadata.deletionTimestamp) return;
      if (faults.happens("machine short")) {
        this.#refused.add(jobUid);
        this.nodes.act(random() * 10_000, () => this.#createPod(jobUid));
        return;
      }
      this.#refused.delete(jobUid);
      const { name, namespace = "" } = job.metadata;
      this.#withPods.add(name);
      const { metadata, spec } = (job.spec as unknown as { template: Pick<PodObject, "metadata" | "spec"> }).template;
      const uid = `uid-of-pod-${nextPid()}`;
      const owner = {
        apiVersion: "batch/v1",
        kind: "Job",
        name,
        uid: jobUid,
        controller: true,
        blockOwnerDeletion: true,
      };
      const created: StoredMeta = {
        ...metadata,
        ...{
          name: `${name}-${uid.slice(-5)}`,
          namespace,
          uid,
          resourceVersion: "",
          creationTimestamp: this.api.time(),
        },
        labels: { ...metadata.labels, "job-name": name },
        ownerReferences: [owner],
        finalizers: [tracking],
      };
      const pod: PodObject = { metadata: created, ...(spec && { spec }), status: { phase: "Pending" } };
      this.nodes.schedule(this.api.put("pods", pod));
      this.#setStatus(job, { active: 1, startTime: this.api.time() });
    });
  }

  /**
   * Counts a pod in its Job. A pod that is told to end has failed, unless it succeeds before it is counted. The end of the Job
   * follows when the pod has ended.
   */
  #sync(podUid: string, jobUid: string): void {
    const pod = this.#podsOf(jobUid).find(({ metadata }) => metadata.uid === podUid);
    const job = this.#jobOf(jobUid);
    if (pod && job && !isFinished(job)) {
      // A Job that is being deleted counts nothing any more.
      if (job.metadata.deletionTimestamp) this.#setStatus(job, { active: 0 });
      else this.#count(pod, job);
    }
    const counted = this.#jobOf(jobUid)?.status;
    if (pod && (!counted || counted.failed || counted.succeeded || job?.metadata.deletionTimestamp)) this.#untrack(pod);
  }

  #count(pod: PodObject, job: JobObject): void {
    const { status = {} } = job;
    const hasSucceeded = pod.status?.phase === "Succeeded" && !status.failed;
    const hasFailed = pod.status?.phase === "Failed" || (pod.metadata.deletionTimestamp !== undefined && !hasSucceeded);
    if (hasSucceeded) {
      const conditions = [toCondition("SuccessCriteriaMet"), toCondition("Complete")];
      this.#finish(this.#setStatus(job, { active: 0, succeeded: 1, conditions }));
    } else if (hasFailed) {
      const target = toCondition("FailureTarget", "BackoffLimitExceeded");
      const failed = this.#setStatus(job, { active: 0, failed: 1, conditions: [target] });
      if (!isFinal(pod) && pod.metadata.deletionGracePeriodSeconds !== 0) return;
      const conditions = [target, toCondition("Failed", "BackoffLimitExceeded")];
      this.nodes.act(this.#lagMs(), () => {
        const current = this.#jobOf(failed.metadata.uid);
        if (current && !isFinished(current)) this.#finish(this.#setStatus(current, { conditions }));
      });
    }
  }

  /** An ended Job has a time to live. */
  #finish({ metadata: { uid }, spec }: JobObject): void {
    const { ttlSecondsAfterFinished: seconds } = spec as { ttlSecondsAfterFinished?: number };
    if (typeof seconds !== "number") return;
    this.nodes.act(seconds * 1_000 + this.#lagMs(), () => {
      const job = this.#jobOf(uid);
      if (!job) return;
      const id = flowRunOf((job.spec as { template: { spec: unknown } }).template);
      // Only a worker that sees the Job before can report the end of a program.
      const { network, planOf, truthOf } = this.parts;
      if (planOf(id).isProgram && !network.hasEnded(id)) truthOf(id).losses.push("its Job was deleted too early");
      this.deleteJob(job, "Foreground");
    });
  }

  /** A pod that its Job has counted may go, if it was told to end and has ended. */
  #untrack(pod: PodObject): void {
    const { finalizers, ...metadata } = metaOf(pod);
    const jobUid = metadata.ownerReferences?.[0]?.uid ?? "";
    const isGone = metadata.deletionTimestamp !== undefined && metadata.deletionGracePeriodSeconds === 0;
    if (isGone) {
      this.api.remove("pods", pod);
      this.nodes.act(this.#lagMs(), () => this.#collect(jobUid));
    } else if (finalizers) this.api.put("pods", { ...pod, metadata });
  }

  /** Deletes the pods of a deleted Job, and the Job after its last pod. */
  #collect(jobUid: string): void {
    const job = this.#jobOf(jobUid);
    if (job && !job.metadata.deletionTimestamp) return;
    const pods = this.#podsOf(jobUid);
    for (const pod of pods) this.deletePod(pod, "its Job was deleted");
    if (job && pods.length === 0) this.api.remove("jobs", job);
  }

  #setStatus(job: JobObject, status: JobStatus): JobObject {
    return this.api.put("jobs", { ...job, status: { ...job.status, ...status } });
  }
}

/** Returns whether the Job has ended, as its controller says. */
export function isFinished({ status }: JobObject): boolean {
  return status?.conditions?.some(({ type }) => type === "Complete" || type === "Failed") ?? false;
}

const failedCreate = {
  metadata: { name: "e", uid: "uid-of-e", resourceVersion: "1" },
  ...{ type: "Warning", reason: "FailedCreate", message: "exceeded quota" },
};

const successfulCreate = {
  metadata: { name: "s", uid: "uid-of-s", resourceVersion: "1" },
  ...{ type: "Normal", reason: "SuccessfulCreate", message: "Created pod" },
};

function toCondition(type: string, reason = "CompletionsReached"): Condition {
  return { type, status: "True", reason };
}
