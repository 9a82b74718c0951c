// Creates the Job of a flow run at most once, although responses may be lost.
import type { JsonObject } from "../../api/wire.ts";
import type { StartOptions } from "../pool-type.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { ClusterError, isExisting, isMissing } from "./cluster/cluster-error.ts";
import { type CallOptions, createObject, listEvents, readObject } from "./cluster/objects.ts";
import { type JobObject, jobs } from "./cluster/resources.ts";
import type { JobPlace } from "./handle.ts";
import { type JobFacts, readFacts } from "./job-labels.ts";
import type { Kubernetes } from "./kubernetes.ts";
import type { KubernetesJob } from "./kubernetes-job.ts";
import { whileAway } from "./while-away.ts";

/** Where a Job is created, and what for. */
export interface Creation extends Pick<StartOptions, "isAwaited"> {
  readonly kubernetes: Kubernetes;
  readonly cluster: Cluster;
  readonly job: KubernetesJob;
  readonly facts: JobFacts;
  readonly signal: AbortSignal;
}

/** The Job was created, and is gone before anybody saw it. Nobody knows how it ended. */
export class JobGoneError extends Error {
  override readonly name = "JobGoneError";

  constructor(manifest: JsonObject) {
    super(`Job '${nameOf(manifest)}' is gone`);
  }
}

/**
 * Creates the Job, or returns the one of the same name, because the response to an earlier request may be lost. That Job may
 * even have ended and be gone, for example because of its time to live. So a flow run that has begun gets no other one. Throws
 * JobGoneError, ClusterError, ClusterUnreachableError and the reason of the signal.
 */
export async function createOrFind(creation: Creation, manifest: JsonObject): Promise<JobObject> {
  const { cluster, job, signal } = creation;
  const name = nameOf(manifest);
  const options = { signal, retries: 0 };
  const find = async (): Promise<JobObject | null> => {
    try {
      return await readObject(cluster, jobs, job.namespace, name, options);
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  };
  let isRepeated = false;
  return await whileAway(creation, async () => {
    for (;;) {
      const existing = isRepeated ? await find() : null;
      if (existing) return existing;
      const isWanted = !isRepeated || ((await creation.isAwaited()) && !(await hasHadPod(creation, manifest, signal)));
      if (!isWanted) throw new JobGoneError(manifest);
      isRepeated = true;
      try {
        return await createObject(cluster, jobs, job.namespace, manifest, options);
      } catch (error) {
        if (!isExisting(error)) throw error;
      }
    }
  });
}

/**
 * Returns whether a program may have begun in an earlier Job of this name, as the events of the cluster say. An engine reports
 * that itself.
 */
export async function hasHadPod(
  { cluster, job, facts }: Creation,
  manifest: JsonObject,
  signal: AbortSignal,
): Promise<boolean> {
  if (facts.executesItself) return false;
  return await knowsPodOf(cluster, { namespace: job.namespace, name: nameOf(manifest) }, { signal });
}

/** Returns whether the events of the cluster say that a Job of this name has had a pod. False for those who may not read them. */
export async function knowsPodOf(cluster: Cluster, job: JobPlace, options: CallOptions): Promise<boolean> {
  try {
    const seen = await listEvents(cluster, job.namespace, { kind: "Job", name: job.name }, options);
    return seen.some(({ reason }) => reason === "SuccessfulCreate");
  } catch (error) {
    if (error instanceof ClusterError && error.status === 403) return false;
    throw error;
  }
}

function nameOf({ metadata }: JsonObject): string {
  return (metadata as { name: string }).name;
}

/** Returns the Job of this attempt; null if there is none, or if nobody can say. */
export async function findOwn(
  { cluster, job, facts }: Creation,
  manifest: JsonObject,
  signal: AbortSignal,
): Promise<JobObject | null> {
  try {
    const found = await readObject(cluster, jobs, job.namespace, nameOf(manifest), { signal });
    return isOfAttempt(found, facts) ? found : null;
  } catch {
    return null;
  }
}

/** Returns whether the Job is of this attempt, and not of something else with its name. */
export function isOfAttempt({ metadata }: JobObject, { flowRunId, attempt }: JobFacts): boolean {
  const found = readFacts(metadata.annotations);
  return found?.flowRunId === flowRunId && found.attempt.join() === attempt.join();
}
