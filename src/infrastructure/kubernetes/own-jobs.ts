// Finds the Jobs of a work pool, for a worker that continues those of dead workers.
import { timeoutSignal } from "../../async/clock.ts";
import type { StartedProgram } from "../pool-type.ts";
import { toHandle } from "./handle.ts";
import { deleteJobOf } from "./job-execution.ts";
import type { JobFacts } from "./job-labels.ts";
import type { JobRow } from "./job-row.ts";
import { clusterUid, type Kubernetes, openCluster } from "./kubernetes.ts";
import type { WatchedNamespace } from "./watched-namespaces.ts";

/** The first lists of a namespace take at most this time. */
const firstListMs = 10_000;
const deletionMs = 30_000;

/** The Jobs of all work pools. */
export class OwnJobs {
  /** The uids of ended Jobs that were returned already. */
  #returned: ReadonlySet<string> = new Set();

  constructor(private readonly kubernetes: Kubernetes) {}

  /**
   * Returns the Jobs of a work pool that run, and once those that have ended, from all namespaces that are watched. Sends no
   * requests. Throws an error if a namespace was never listed.
   */
  async find(workPoolId: string): Promise<StartedProgram[]> {
    const usual = await openCluster(this.kubernetes, null).catch(() => null);
    const found: StartedProgram[] = [];
    const ended = new Set<string>();
    for (const namespace of this.kubernetes.namespaces.all()) {
      await listed(namespace);
      const context = {
        clusterUid: await clusterUid(namespace.cluster),
        hasBlock: namespace.cluster !== usual,
        started: startedJobs(namespace),
      };
      for (const row of namespace.jobs.all()) {
        if (row.outcome) ended.add(row.uid);
        if (row.workPoolId !== workPoolId || this.#returned.has(row.uid)) continue;
        if (row.facts) found.push(toStarted(row, row.facts, context));
      }
    }
    const before = this.#returned;
    const returned = new Set(found.map(({ handle }) => String(handle.proof.jobUid)));
    this.#returned = new Set([...ended].filter((uid) => before.has(uid) || returned.has(uid)));
    return found;
  }

  /** Deletes a Job whose pod has not started, because its flow run does not wait for it. Throws ClusterError. */
  async discard({ handle }: StartedProgram): Promise<void> {
    const uid = String(handle.proof.jobUid);
    for (const namespace of this.kubernetes.namespaces.all()) {
      const row = namespace.jobs.get(uid);
      if (!row || row.outcome || namespace.isFollowed(uid) || startedJobs(namespace).has(uid)) continue;
      const { log } = this.kubernetes.services;
      log.info(
        `Deleting Job '${row.name}' in namespace '${namespace.name}': its flow run does not wait for it any more`,
      );
      const place = { cluster: namespace.cluster, namespace: namespace.name, name: row.name, uid };
      await deleteJobOf(place, timeoutSignal(deletionMs));
    }
  }
}

async function listed({ jobs, pods, problem, name }: WatchedNamespace): Promise<void> {
  const limit = timeoutSignal(firstListMs);
  if (!jobs.isSynced) await jobs.synced(limit);
  if (!pods.isSynced) await pods.synced(limit);
  if (!jobs.isSynced || !pods.isSynced)
    throw new Error(problem ?? `The Jobs in namespace '${name}' are not listed yet.`);
}

/** Returns the uids of the Jobs of which a container has run. */
function startedJobs({ pods }: WatchedNamespace): Set<string> {
  const uids = new Set<string>();
  for (const { jobUid, hasStarted } of pods.all()) if (hasStarted && jobUid !== null) uids.add(jobUid);
  return uids;
}

interface Surroundings {
  readonly clusterUid: string | null;
  readonly hasBlock: boolean;
  readonly started: ReadonlySet<string>;
}

function toStarted(row: JobRow, facts: JobFacts, { clusterUid: uid, hasBlock, started }: Surroundings): StartedProgram {
  const { flowRunId, instance, workerName, attempt, rules } = facts;
  const { name, namespace } = row;
  return {
    flowRunId,
    instance,
    workerName,
    proposals: attempt,
    handle: toHandle({ flowRunId, attempt, namespace, name, jobUid: row.uid, clusterUid: uid, hasBlock }),
    mayHaveBegun: row.outcome !== null || started.has(row.uid),
    ...(rules !== undefined && { rules }),
  };
}
