// Work pools of type `kubernetes`: a flow run is a Job. Loaded only when such a work pool is served.
// Source: prefect_kubernetes/worker.py, observer.py.
import type { JsonObject } from "../../api/wire.ts";
import { monotonicMs } from "../../async/clock.ts";
import { JobConfigurationError } from "../../job/typed-fields.ts";
import type { Ending } from "../execution.ts";
import { goneExecution } from "../gone-execution.ts";
import type { Infrastructure, InfrastructureServices, StartOptions } from "../pool-type.ts";
import { adoptJob, findAbandonedJob } from "./adopt-job.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { ClusterConfigError } from "./cluster/cluster-error.ts";
import { Clusters } from "./cluster/clusters.ts";
import { readVersion } from "./cluster/objects.ts";
import { createJob } from "./create-job.ts";
import { JobGoneError } from "./create-once.ts";
import { toHandle } from "./handle.ts";
import { jobExecution } from "./job-execution.ts";
import type { JobFacts } from "./job-labels.ts";
import { toJobName } from "./job-manifest.ts";
import { clusterUid, type Kubernetes, openCluster } from "./kubernetes.ts";
import { clusterField, executesItself, type KubernetesJob, toKubernetesJob } from "./kubernetes-job.ts";
import { OwnJobs } from "./own-jobs.ts";
import { readSettings } from "./settings.ts";
import { WatchedNamespaces } from "./watched-namespaces.ts";

/** How long the answer to the question before a claim counts. */
const answerLastsMs = 1_000;
/** The time limit for that question. */
const questionMs = 5_000;

/** Opens the type. Throws KubernetesSettingError. The cluster itself may be away, or may not be known yet. */
export async function openKubernetes(services: InfrastructureServices): Promise<Infrastructure<KubernetesJob>> {
  return openKubernetesOn(new Clusters(services), services);
}

/** Opens the type with these clusters. Throws KubernetesSettingError. */
export function openKubernetesOn(clusters: Clusters, services: InfrastructureServices): Infrastructure<KubernetesJob> {
  const { environment, log } = services;
  const settings = readSettings(environment);
  const namespaces = new WatchedNamespaces(log);
  const kubernetes: Kubernetes = { clusters, namespaces, settings, services };
  const own = new OwnJobs(kubernetes);
  return {
    toJob: (fields, facts) => toKubernetesJob(fields, facts),
    obstacle: obstacleOf(kubernetes),
    start: (job, options) => startJob(kubernetes, job, options),
    adopt: (handle, options) => adoptJob(kubernetes, handle, options),
    // The code of the flow is in its image, so nobody can run its hooks here.
    hooksOfLost: () => ({ runsItself: { cancellation: true, crashed: true }, run: async () => {} }),
    findAbandoned: (handle) => findAbandonedJob(kubernetes, handle),
    async findStarted(workPoolId, fields) {
      await watchUsual(kubernetes, fields);
      return await own.find(workPoolId);
    },
    discard: (program) => own.discard(program),
    watches: () => namespaces.watches(),
    integrations: async () => [],
    [Symbol.dispose]() {
      namespaces[Symbol.dispose]();
      clusters[Symbol.dispose]();
    },
  };
}

const goneUnseen: Ending = {
  kind: "gone",
  why: "The flow run's Kubernetes Job was created and deleted while the API server did not answer.",
  mayHaveBegun: true,
};

/** Creates the Job of a flow run. */
async function startJob(kubernetes: Kubernetes, job: KubernetesJob, options: StartOptions) {
  const { flowRunId, proposals, instance, signal } = options;
  const facts: JobFacts = {
    flowRunId,
    instance: instance ?? "",
    workerName: job.workerName,
    attempt: [...proposals],
    streamsOutput: job.streamOutput,
    executesItself: executesItself(job),
    podWatchSeconds: job.podWatchSeconds,
    jobWatchSeconds: job.jobWatchSeconds,
    rules: job.program.reporter === "worker" ? job.program.rules : null,
  };
  const cluster = await openCluster(kubernetes, job);
  // Its watch begins before the Job exists.
  kubernetes.namespaces.of(cluster, job.namespace);
  const place = {
    flowRunId,
    attempt: facts.attempt,
    namespace: job.namespace,
    name: await toJobName(job, facts),
    clusterUid: await clusterUid(cluster),
    hasBlock: job.cluster !== null,
  };
  const planned = toHandle({ ...place, jobUid: null });
  await options.onHandle(planned);
  const { isAwaited } = options;
  const object = await createJob({ kubernetes, cluster, job, facts, signal, isAwaited }).catch((error: unknown) => {
    if (error instanceof JobGoneError) return null;
    throw error;
  });
  if (object === null) return goneExecution(planned, goneUnseen);
  const handle = toHandle({ ...place, jobUid: object.metadata.uid });
  await options.onHandle(handle);
  return await jobExecution(kubernetes, { cluster, object, handle, isAdopted: false }, options);
}

/** Watches the namespaces where Jobs are to be expected: that of the work pool, and those of the settings. */
async function watchUsual(kubernetes: Kubernetes, { namespace, cluster_config }: JsonObject): Promise<void> {
  const { namespaces, settings } = kubernetes;
  let cluster: Cluster;
  try {
    cluster = await openCluster(kubernetes, { cluster: clusterField(cluster_config) });
  } catch (error) {
    // The job variables may say it, and the first flow run reports what is wrong.
    if (error instanceof ClusterConfigError || error instanceof JobConfigurationError) return;
    throw error;
  }
  const ofPool = typeof namespace === "string" && namespace !== "" ? namespace : "default";
  for (const name of [ofPool, ...settings.namespaces]) namespaces.of(cluster, name);
}

/**
 * Says why a flow run cannot start: its cluster is not known, or does not answer. Claims at the same time share one question.
 * The job is needed only if something is wrong with the usual cluster, because it may name another one.
 */
function obstacleOf(kubernetes: Kubernetes): (readJob: () => Promise<KubernetesJob>) => Promise<string | null> {
  const asked = new Map<Cluster, { readonly at: number; readonly answer: Promise<string | null> }>();
  const ask = (cluster: Cluster): Promise<string | null> => {
    const last = asked.get(cluster);
    if (last && monotonicMs() - last.at < answerLastsMs) return last.answer;
    const answer = readVersion(cluster, { limitMs: questionMs, retries: 0 }).then(
      () => null,
      // An answer, such as 403, shows that it is there.
      (error: unknown) => cluster.outage.problem && (error as Error).message,
    );
    asked.set(cluster, { at: monotonicMs(), answer });
    return answer;
  };
  const problemOf = async (job: KubernetesJob | null): Promise<string | null> => {
    try {
      const cluster = await openCluster(kubernetes, job);
      // It answered the last request, so it is not asked again.
      return cluster.outage.problem === null ? null : await ask(cluster);
    } catch (error) {
      if (error instanceof ClusterConfigError) return error.message;
      throw error;
    }
  };
  return async (readJob) => {
    const problem = await problemOf(null);
    if (problem === null) return null;
    const job = await readJob();
    return job.cluster === null ? problem : await problemOf(job);
  };
}
