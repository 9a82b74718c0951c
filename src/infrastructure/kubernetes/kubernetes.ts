// What all flow runs of kubernetes work pools share: the clusters, the watches, the settings and the services of the program.
import type { Logger } from "../../logger.ts";
import type { InfrastructureServices } from "../pool-type.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { Clusters } from "./cluster/clusters.ts";
import { readClusterUid } from "./cluster/objects.ts";
import type { KubernetesJob } from "./kubernetes-job.ts";
import type { KubernetesSettings } from "./settings.ts";
import type { WatchedNamespaces } from "./watched-namespaces.ts";

/** The opened pool type. */
export interface Kubernetes {
  readonly clusters: Clusters;
  readonly namespaces: WatchedNamespaces;
  readonly settings: KubernetesSettings;
  readonly services: InfrastructureServices;
}

/** Returns the logger for messages about one flow run. The server gets them too. */
export function logOf({ services }: Pick<Kubernetes, "services">, flowRunId: string): Logger {
  return services.log.child({ flow_run_id: flowRunId });
}

/** Returns the cluster of a job; that of the worker's configuration for no job. Throws ClusterConfigError. */
export async function openCluster(
  { clusters }: Kubernetes,
  job: Pick<KubernetesJob, "cluster"> | null,
): Promise<Cluster> {
  const block = job?.cluster?.reveal();
  return await clusters.open(block ? { config: block.config, context_name: block.contextName } : null);
}

const uids = new WeakMap<Cluster, Promise<string | null>>();
const uidLimitMs = 5_000;

/**
 * Returns what identifies the cluster. Returns null if the worker may not read that, which is usual, or cannot. Asked once per
 * cluster.
 */
export async function clusterUid(cluster: Cluster): Promise<string | null> {
  const asked = uids.get(cluster) ?? readClusterUid(cluster, { limitMs: uidLimitMs, retries: 1 }).catch(() => null);
  uids.set(cluster, asked);
  return await asked;
}
