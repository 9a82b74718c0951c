// Continues with Jobs of earlier workers.
import { timeoutSignal } from "../../async/clock.ts";
import type { Ending, Execution, Handle } from "../execution.ts";
import { goneExecution } from "../gone-execution.ts";
import type { AdoptOptions } from "../pool-type.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { isMissing } from "./cluster/cluster-error.ts";
import { readObject } from "./cluster/objects.ts";
import { type JobObject, jobs } from "./cluster/resources.ts";
import { knowsPodOf } from "./create-once.ts";
import { factsOf, type JobPlace, placeOf, toHandle } from "./handle.ts";
import { deleteJobOf, jobExecution } from "./job-execution.ts";
import { flowRunLabel, readFacts } from "./job-labels.ts";
import { toJobRow } from "./job-row.ts";
import { clusterUid, type Kubernetes, logOf, openCluster } from "./kubernetes.ts";
import type { KubernetesJob } from "./kubernetes-job.ts";

/** A cluster that is away must not end a flow run. */
const endless = { retries: Number.POSITIVE_INFINITY };

/**
 * Returns the execution of a Job that an earlier worker created. Waits while the cluster is away. Returns null if the Job is in
 * another cluster. Throws ClusterError, ClusterConfigError, the reason of the signal, and what `readJob` throws.
 */
export async function adoptJob(
  kubernetes: Kubernetes,
  handle: Handle,
  options: AdoptOptions<KubernetesJob>,
): Promise<Execution | null> {
  const { signal, flowRunId } = options;
  const facts = factsOf(handle);
  const { attempt = [], hasBlock = false } = facts;
  // The journal has no credentials.
  const cluster = await openCluster(kubernetes, hasBlock ? await options.readJob() : null);
  const here = await clusterUid(cluster);
  const place = placeOf(handle);
  const object = place && (await findJob(cluster, place, signal));
  if (!object || !isOf(object, flowRunId, facts.jobUid)) {
    if (!options.hasEnded && isElsewhere(kubernetes, { before: facts.clusterUid, here, cluster, flowRunId }))
      return null;
    // A program that reports nothing may have begun in a Job whose creation the journal does not have.
    const isInDoubt = handle.identifier === "" && options.onLine != null && !options.hasEnded;
    const hadPod = isInDoubt && place !== null && (await knowsPodOf(cluster, place, { signal, ...endless }));
    return goneExecution(handle, toGone(handle, hadPod));
  }
  const { name, uid, namespace = "" } = object.metadata;
  const found = toHandle({ flowRunId, attempt, namespace, name, jobUid: uid, clusterUid: here, hasBlock });
  return await jobExecution(kubernetes, { cluster, object, handle: found, isAdopted: true }, options);
}

/** A deleted Job may have ended well before. Only the state of the flow run can say. */
function toGone(handle: Handle, hadPod: boolean): Ending {
  const wasCreated = handle.identifier !== "" || hadPod;
  const why = wasCreated ? "was deleted while no worker watched it" : "was about to be created when its worker died";
  return { kind: "gone", why: `The flow run's Kubernetes Job ${why}.`, mayHaveBegun: wasCreated };
}

async function findJob(
  cluster: Cluster,
  { namespace, name }: JobPlace,
  signal: AbortSignal,
): Promise<JobObject | null> {
  try {
    return await readObject(cluster, jobs, namespace, name, { signal, ...endless });
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Returns whether the Job is of the flow run, and the one that was meant, if it is known which. */
function isOf({ metadata }: JobObject, flowRunId: string | undefined, uid: string | null | undefined): boolean {
  const owner = readFacts(metadata.annotations)?.flowRunId ?? metadata.labels?.[flowRunLabel];
  return owner === flowRunId && (!uid || metadata.uid === uid);
}

interface Clusters {
  readonly before: string | null | undefined;
  readonly here: string | null;
  readonly cluster: Cluster;
  readonly flowRunId: string;
}

/** Returns whether another cluster than this one has the Job, as far as both are known, and logs it. */
function isElsewhere(kubernetes: Kubernetes, { before, here, cluster, flowRunId }: Clusters): boolean {
  if (!before || !here || before === here) return false;
  const { server, origin } = cluster.access;
  logOf(kubernetes, flowRunId).warn(
    `The cluster at ${server}, from ${origin}, is not the one that the flow run was started in, so its Job is not here. A worker of this pool with that cluster continues it.`,
  );
  return true;
}

/** The time limit for finding a Job of another worker. */
const findMs = 10_000;

/**
 * Returns the Job of a handle of another worker. Returns null if no known cluster has such a Job of the flow run, because
 * another one may have it.
 */
export async function findAbandonedJob(
  kubernetes: Kubernetes,
  handle: Handle,
): Promise<Pick<Execution, "stop"> | null> {
  const place = placeOf(handle);
  if (place === null) return null;
  const usual = await openCluster(kubernetes, null).catch(() => null);
  const others = kubernetes.clusters.all().filter((cluster) => cluster !== usual);
  for (const cluster of usual ? [usual, ...others] : others) {
    const object = await findJob(cluster, place, timeoutSignal(findMs));
    if (!object || !isOf(object, factsOf(handle).flowRunId, null)) continue;
    return {
      async stop(_why, { leave }) {
        if (toJobRow(object).outcome) return "had ended";
        await deleteJobOf({ cluster, ...place, uid: object.metadata.uid }, leave);
        return "stopped";
      },
    };
  }
  return null;
}
