// Kubernetes work pools on the shared server, and workers for them, with a whole cluster.
import { randomUUID } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { AsyncDisposables } from "../../src/async/async-disposables.ts";
import { kubernetesBaseJobTemplate } from "../../src/infrastructure/kubernetes/base-job-template.ts";
import type { JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { flowRunLabel } from "../../src/infrastructure/kubernetes/job-labels.ts";
import { inCheckout } from "../support/checkout.ts";
import { HOST_IMAGE, hostVolumes } from "../support/engine-images.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { finalTypes, type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { startWholeCluster, type WholeCluster } from "../support/whole-cluster.ts";
import { Namespace } from "./namespace.ts";

/** The pod of a flow run starts within this time, also on a busy machine. */
export const flowTimeoutMs = 240_000;

/** A namespace of a whole cluster, and a folder that has the same path in pods. Disposing ends the cluster. */
export interface WholeNamespace extends AsyncDisposable {
  cluster: WholeCluster;
  namespace: Namespace;
  shared: string;
}

/** Starts a cluster and creates a namespace. */
export async function openWholeNamespace(): Promise<WholeNamespace> {
  await using opened = new AsyncDisposables();
  const { path: shared, ...directory } = await makeTemporaryDirectory("lictor-shared-");
  opened.add(async () => await directory[Symbol.asyncDispose]());
  await chmod(shared, 0o755);
  const cluster = await startWholeCluster();
  opened.add(async () => await cluster[Symbol.asyncDispose]());
  const namespace = await Namespace.create(cluster);
  opened.add(async () => namespace[Symbol.dispose]());
  return { cluster, namespace, shared, ...opened.move() };
}

/** A work pool whose Jobs are in one namespace. */
export class WholePool {
  readonly api: PrefectApi = prefectApi(inject("apiUrl"));
  #programs: Promise<string> | undefined;

  private constructor(
    readonly name: string,
    readonly id: string,
    readonly namespace: Namespace,
    readonly shared: string,
  ) {}

  /** Creates a pool of a new name. */
  static async create({ namespace, shared }: Pick<WholeNamespace, "namespace" | "shared">): Promise<WholePool> {
    const name = `kubernetes-${randomUUID().slice(0, 8)}`;
    const base_job_template = (await makeTemplate(namespace.name, shared)) as unknown as JsonObject;
    const fields = { type: "kubernetes", base_job_template };
    const { id } = await prefectApi(inject("apiUrl")).createWorkPool(name, fields);
    return new WholePool(name, id, namespace, shared);
  }

  /** Changes the pods of the base job template. */
  async changePods(change: (spec: PodSpec) => void): Promise<void> {
    const template = await makeTemplate(this.namespace.name, this.shared);
    change(podSpecOf(template));
    await this.api.updateWorkPool(this.name, { base_job_template: template as unknown as JsonObject });
  }

  /** Starts a worker on this machine, as this user of the cluster; without one as the administrator. */
  async startWorker(options: Partial<WorkerOptions> & { user?: JsonObject } = {}): Promise<RunningProgram> {
    const { cluster } = this.namespace;
    const { user = { token: cluster.adminToken }, env, ...rest } = options;
    const kubeconfig = join(this.shared, `kubeconfig-${randomUUID()}`);
    await writeFile(kubeconfig, JSON.stringify(cluster.kubeconfig(user)), { mode: 0o600 });
    const more = { KUBECONFIG: kubeconfig, PREFECT_WORKER_HEARTBEAT_SECONDS: "5", ...env };
    return await startWorker(this.name, { apiUrl: inject("apiUrl"), ...rest, env: more });
  }

  /** Creates a flow run of a flow of test/fixtures/flows. Returns its id. */
  async runFlow(entrypoint: string, parameters: JsonObject = {}, jobVariables: JsonObject = {}): Promise<string> {
    const [file = "", flow = file] = entrypoint.split(":");
    const deployment = await this.api.createDeployment({
      flowName: flow,
      name: randomUUID(),
      workPool: this.name,
      path: inCheckout("test/fixtures/flows"),
      entrypoint: `${file}.py:${flow}`,
      jobVariables: { image: HOST_IMAGE, ...jobVariables },
    });
    return (await this.api.createFlowRun(deployment, { parameters })).id;
  }

  /** Creates a flow run of a shell script whose states the worker reports. Returns its id. */
  async runScript(script: string, jobVariables: JsonObject = {}): Promise<string> {
    const variables = { image: HOST_IMAGE, reporter: "worker" };
    this.#programs ??= this.api.createDeployment({
      ...{ flowName: "script", name: randomUUID(), workPool: this.name, jobVariables: variables },
    });
    const program = ["sh", "-c", script];
    return (await this.api.createFlowRun(await this.#programs, { jobVariables: { program, ...jobVariables } })).id;
  }

  /** Returns the Jobs of a flow run. */
  async jobsOf(flowRunId: string): Promise<JobObject[]> {
    return (await this.namespace.get<JobObject>("jobs")).filter(isOf(flowRunId));
  }

  /** Returns the pods of a flow run. */
  async podsOf(flowRunId: string): Promise<PodObject[]> {
    return (await this.namespace.get<PodObject>("pods")).filter(isOf(flowRunId));
  }

  /** Waits until the flow run is or was in a state of this name whose message matches. */
  async untilState(flowRunId: string, name: string, message: RegExp): Promise<void> {
    const what = `the state ${name} ${message} of ${flowRunId}`;
    const read = async () => await this.api.readStates(flowRunId);
    const seen = async () => {
      const states = await read();
      if (states.some((state) => state.name === name && message.test(state.message ?? ""))) return true;
      if (states.some(({ type }) => finalTypes.includes(type))) throw new Error(`it ended before ${what}`);
      return false;
    };
    await waitFor(seen, { timeoutMs: flowTimeoutMs, intervalMs: 200, what }).catch(async (error: Error) => {
      const states = (await read()).map((state) => `${state.name} (${state.message})`);
      throw new Error(`${error.message}\nits states: ${states.join(", ")}`, { cause: error });
    });
  }
}

/** Allows or forbids new pods on the node, as `kubectl cordon` does. */
export async function cordon({ admin }: Namespace, node: string, unschedulable: boolean): Promise<void> {
  const call = { body: { spec: { unschedulable } }, contentType: "application/merge-patch+json" };
  await admin.request("PATCH", `/api/v1/nodes/${node}`, call);
}

function isOf(flowRunId: string): (object: { metadata: { labels?: Record<string, string> } }) => boolean {
  return ({ metadata }) => metadata.labels?.[flowRunLabel] === flowRunId;
}

/** A pod in a base job template. */
export interface PodSpec extends JsonObject {
  volumes: JsonObject[];
  containers: [JsonObject & { volumeMounts: JsonObject[] }];
}

interface Template {
  job_configuration: { job_manifest: { spec: { template: { spec: PodSpec } } } };
  variables: { properties: { namespace: JsonObject } };
}

function podSpecOf({ job_configuration: { job_manifest } }: Template): PodSpec {
  return job_manifest.spec.template.spec;
}

/** Pods share the network of this machine, so they reach the Prefect server. Their working directory is the shared folder. */
async function makeTemplate(namespace: string, shared: string): Promise<Template> {
  const { volumes, volumeMounts } = await podVolumes(shared);
  const template = structuredClone(kubernetesBaseJobTemplate) as unknown as Template;
  const spec = podSpecOf(template);
  Object.assign(spec, { hostNetwork: true, volumes });
  Object.assign(spec.containers[0], { volumeMounts, workingDir: shared });
  template.variables.properties.namespace.default = namespace;
  return template;
}

/** The volumes of a pod with the programs of this machine, this checkout and the shared folder. */
export async function podVolumes(shared: string): Promise<{ volumes: JsonObject[]; volumeMounts: JsonObject[] }> {
  const checkout = inCheckout(".").replace(/\/$/, "");
  const binds = [...(await hostVolumes()), `${checkout}:${checkout}:ro`, `${shared}:${shared}:rw`];
  const parts = binds.map((bind, index) => {
    const [path = "", , mode] = bind.split(":");
    return { name: `host-${index}`, path, readOnly: mode === "ro" };
  });
  return {
    volumes: parts.map(({ name, path }) => ({ name, hostPath: { path } })),
    volumeMounts: parts.map(({ name, path, readOnly }) => ({ name, mountPath: path, readOnly })),
  };
}
