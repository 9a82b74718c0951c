// The clusters of all kubernetes work pools of the program. Work pools of the same cluster share its connections.
import type { Json } from "../../../api/wire.ts";
import type { Logger } from "../../../logger.ts";
import { Cluster } from "./cluster.ts";
import type { ClusterAccess, Environment } from "./cluster-access.ts";
import { Outage } from "./outage.ts";

/** What finding a cluster needs of the program. */
export interface ClusterServices {
  readonly environment: Environment;
  /** Hides further secrets in all output. */
  hide(secrets: readonly string[]): void;
  readonly log: Logger;
}

/** Finds a cluster. `block` is the data of a KubernetesClusterConfig block; null for the usual places. */
export type FindCluster = (block: Json, services: ClusterServices) => Promise<ClusterAccess>;

/** The clusters by the block that names them. */
export class Clusters implements Disposable {
  readonly #opened = new Map<string, Promise<Cluster>>();
  readonly #clusters: Cluster[] = [];

  constructor(
    private readonly find: FindCluster,
    private readonly services: ClusterServices,
  ) {}

  /**
   * Returns the cluster of a block's data; for null the cluster of this pod, or that of the kubeconfig. Equal blocks have
   * the same cluster. Sends no request. Throws ClusterConfigError.
   */
  async open(block: Json): Promise<Cluster> {
    const key = JSON.stringify(block);
    const opened = this.#opened.get(key) ?? this.#open(block);
    this.#opened.set(key, opened);
    // A file that is missing now may be there at the next try.
    opened.catch(() => this.#opened.delete(key));
    return await opened;
  }

  /** Returns the clusters that are open. */
  all(): readonly Cluster[] {
    return this.#clusters;
  }

  async #open(block: Json): Promise<Cluster> {
    const { environment, log } = this.services;
    const cluster = new Cluster(await this.find(block, this.services), new Outage(log), environment);
    this.#clusters.push(cluster);
    return cluster;
  }

  [Symbol.dispose](): void {
    for (const cluster of this.#clusters) cluster[Symbol.dispose]();
  }
}
