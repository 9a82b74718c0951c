// One namespace of a real cluster, and the type `kubernetes` with it. The test plays scheduler and kubelet.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { loadAll } from "js-yaml";
import type { JsonObject } from "../../src/api/wire.ts";
import type { Execution } from "../../src/infrastructure/execution.ts";
import type { Cluster } from "../../src/infrastructure/kubernetes/cluster/cluster.ts";
import { deleteObject } from "../../src/infrastructure/kubernetes/cluster/objects.ts";
import { type JobObject, type PodObject, pods } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { openFakeCluster } from "../fault/fake-kubernetes.ts";
import { type OpenedPool, openPool } from "../fault/fake-kubernetes-pool.ts";
import { recordingLogger } from "../fault/test-socket.ts";
import { inCheckout } from "../support/checkout.ts";
import type { KubernetesCluster } from "../support/kubernetes-cluster.ts";
import { waitFor } from "../support/wait-for.ts";

/** The time limit for what controllers do. */
export const soon = { timeoutMs: 30_000, intervalMs: 100 };

/** A namespace and its cluster, as their administrator sees them. */
export class Namespace implements Disposable {
  private constructor(
    readonly cluster: KubernetesCluster,
    readonly admin: Cluster,
    readonly name: string,
  ) {}

  /** Creates a namespace. Waits until pods can be created in it. */
  static async create(cluster: KubernetesCluster, name = `flows-${randomUUID().slice(0, 8)}`): Promise<Namespace> {
    const authority = { "certificate-authority": authorityOf(cluster) };
    const admin = await openFakeCluster(cluster, recordingLogger().log, { token: cluster.adminToken }, authority);
    const namespace = new Namespace(cluster, admin, name);
    await admin.request("POST", "/api/v1/namespaces", { body: { metadata: { name } } });
    const account = () => admin.request("GET", `/api/v1/namespaces/${name}/serviceaccounts/default`).then(() => true);
    await waitFor(() => account().catch(() => false), { ...soon, what: "the default service account" });
    return namespace;
  }

  /** Opens the type as this user; without one as the administrator. */
  async open(user: JsonObject = { token: this.cluster.adminToken }, environment = {}): Promise<OpenedPool> {
    return await openPool(this.cluster.kubeconfig(user), environment);
  }

  /** Starts a flow run in this namespace, as a worker does. */
  async start(pool: OpenedPool, variables: JsonObject = {}): Promise<Execution> {
    return await pool.infrastructure.start(await pool.jobOf({ namespace: this.name, ...variables }), pool.options);
  }

  async get<T>(plural: "jobs" | "pods"): Promise<T[]> {
    const root = plural === "jobs" ? "/apis/batch/v1" : "/api/v1";
    return (await this.admin.request<{ items: T[] }>("GET", `${root}/namespaces/${this.name}/${plural}`)).items;
  }

  /** Waits for the pod that the cluster makes of the only Job, and puts it on a node. */
  async pod(): Promise<PodObject> {
    const [pod] = await waitFor(async () => await this.found<PodObject>("pods"), { ...soon, what: "a pod" });
    await this.bind(pod as PodObject);
    return pod as PodObject;
  }

  /** Puts a pod on a node, as the scheduler does. */
  async bind({ metadata: { name } }: PodObject): Promise<void> {
    const body = { metadata: { name }, target: { kind: "Node", name: "node-1" } };
    await this.admin.request("POST", `${this.#pods}/${name}/binding`, { body });
  }

  /** Changes the status of a pod, as the kubelet does. */
  async setStatus({ metadata: { name } }: PodObject, status: JsonObject): Promise<void> {
    const contentType = "application/merge-patch+json";
    await this.admin.request("PATCH", `${this.#pods}/${name}/status`, { body: { status }, contentType });
  }

  /** Removes a pod that has ended, as the kubelet does, unless the cluster has. */
  async removePod({ metadata: { name } }: PodObject): Promise<void> {
    await deleteObject(this.admin, pods, this.name, name, { gracePeriodSeconds: 0 });
  }

  /** Evicts a pod, as `kubectl drain` does. */
  async evict(name: string): Promise<void> {
    const body = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name } };
    await this.admin.request("POST", `${this.#pods}/${name}/eviction`, { body });
  }

  /** Waits until a Job is like this. */
  async untilJob(what: string, is: (job: JobObject) => boolean | undefined): Promise<void> {
    await waitFor(async () => (await this.get<JobObject>("jobs")).some(is), { ...soon, what });
  }

  /** Creates the service account of `docs/deploy/kubernetes/rbac.yaml` with its Role, and returns a token. `change` may take rules away. */
  async serviceAccountToken(change: (rules: Rule[]) => Rule[] = (rules) => rules): Promise<string> {
    for (const manifest of await readManifests("rbac.yaml")) {
      const { rules, subjects } = manifest as { rules?: Rule[]; subjects?: JsonObject[] };
      const given = {
        ...manifest,
        ...(rules && { rules: change(rules) }),
        ...(subjects && { subjects: subjects.map((subject) => ({ ...subject, namespace: this.name })) }),
      } as JsonObject;
      await this.admin.request("POST", pathOf(manifest, this.name), { body: given });
    }
    return await this.tokenOf("lictor");
  }

  /** Returns a token of a service account. It ends together with the secret. */
  async tokenOf(account: string, secret?: { name: string; uid: string }): Promise<string> {
    const boundObjectRef = secret && { kind: "Secret", apiVersion: "v1", ...secret };
    const path = `/api/v1/namespaces/${this.name}/serviceaccounts/${account}/token`;
    const body = { spec: { ...(boundObjectRef && { boundObjectRef }) } };
    return (await this.admin.request<{ status: { token: string } }>("POST", path, { body })).status.token;
  }

  /** Returns whether the API server accepts a token. */
  async isAccepted(token: string): Promise<boolean> {
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token } };
    const path = "/apis/authentication.k8s.io/v1/tokenreviews";
    const { status } = await this.admin.request<{ status: { authenticated?: boolean } }>("POST", path, { body });
    return status.authenticated === true;
  }

  [Symbol.dispose](): void {
    this.admin[Symbol.dispose]();
  }

  get #pods(): string {
    return `/api/v1/namespaces/${this.name}/pods`;
  }

  private async found<T>(plural: "jobs" | "pods"): Promise<T[] | undefined> {
    const items = await this.get<T>(plural);
    return items.length > 0 ? items : undefined;
  }
}

/** A rule of a Role. */
export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** Returns the objects of a file in `docs/deploy/kubernetes`. */
export async function readManifests(file: string): Promise<JsonObject[]> {
  return loadAll(await readFile(inCheckout(`docs/deploy/kubernetes/${file}`), "utf8")) as JsonObject[];
}

/** Returns where an object of this manifest is created. */
export function pathOf({ apiVersion, kind }: JsonObject, namespace: string): string {
  const root = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
  const plural = `${String(kind).toLowerCase()}s`;
  return plural === "namespaces" ? `${root}/${plural}` : `${root}/namespaces/${namespace}/${plural}`;
}

function authorityOf(cluster: KubernetesCluster): string {
  const [{ cluster: fields }] = cluster.kubeconfig({}).clusters as [{ cluster: JsonObject }];
  return String(fields["certificate-authority"]);
}
