// The clusters of all kubernetes work pools of the program. Work pools of the same cluster share its connections.
import type { Json } from "../../../api/wire.ts";
import { Cluster } from "./cluster.ts";
import type { ClusterServices } from "./cluster-access.ts";
import { findCluster } from "./find-cluster.ts";
import { Outage } from "./outage.ts";

/** Returns the cluster of a block's data; for null the usual one. Sends no request. Throws ClusterConfigError. */
export type Connect = (block: Json, services: ClusterServices) => Promise<Cluster>;

const connectOverHttp: Connect = async (block, services) =>
  new Cluster(await findCluster(block, services), new Outage(services.log), services.environment);

/** The clusters by the block that names them. */
export class Clusters implements Disposable {
  readonly #opened = new Map<string, Promise<Cluster>>();
  readonly #clusters: Cluster[] = [];

  constructor(
    private readonly services: ClusterServices,
    private readonly connect: Connect = connectOverHttp,
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
    const cluster = await this.connect(block, this.services);
    this.#clusters.push(cluster);
    return cluster;
  }

  [Symbol.dispose](): void {
    for (const cluster of this.#clusters) cluster[Symbol.dispose]();
  }
}
