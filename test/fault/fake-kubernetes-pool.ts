// The opened type `kubernetes` with a fake API server, without a Prefect server and without a worker. The test plays the Job
// controller and the kubelet.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FlowRun, JsonObject, WorkPool } from "../../src/api/wire.ts";
import type { Handle } from "../../src/infrastructure/execution.ts";
import { kubernetesBaseJobTemplate } from "../../src/infrastructure/kubernetes/base-job-template.ts";
import type { ContainerStatus, JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { openKubernetes } from "../../src/infrastructure/kubernetes/kubernetes-infrastructure.ts";
import type { KubernetesJob } from "../../src/infrastructure/kubernetes/kubernetes-job.ts";
import type {
  AdoptOptions,
  Infrastructure,
  InfrastructureEvent,
  InfrastructureServices,
  StartOptions,
} from "../../src/infrastructure/pool-type.ts";
import { type RunFacts, resolveJobFields } from "../../src/job/job-fields.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { type FakeKubernetes, type FakeObject, startFakeKubernetes } from "./fake-kubernetes.ts";
import { type Recorded, recordingLogger } from "./test-socket.ts";

/** The id of the flow run. */
export const flowRunId = "11111111-1111-4111-8111-111111111111";
/** The id of its work pool. */
export const workPoolId = "33333333-3333-4333-8333-333333333333";

/** The opened type, and what it told the worker. */
export interface OpenedPool extends AsyncDisposable {
  infrastructure: Infrastructure<KubernetesJob>;
  records: readonly Recorded[];
  /** The messages of the log records of the flow run. */
  logs(): string[];
  /** The handles that were stored. */
  handles: Handle[];
  events: InfrastructureEvent[];
  /** The reasons why the flow run waits. */
  reasons: string[];
  /** The lines that the flow run printed. */
  lines: string[];
  /** What the server says when it is told that the flow run waits. */
  isWanted: boolean;
  options: StartOptions & AdoptOptions<KubernetesJob>;
  jobOf(variables?: JsonObject): Promise<KubernetesJob>;
}

/** The opened type and its cluster. */
export interface FakePool extends OpenedPool {
  cluster: FakeKubernetes;
  /** Returns the Jobs in the namespace `default`. */
  jobs(): Promise<JobObject[]>;
  /** Waits for the only Job. */
  job(): Promise<JobObject>;
  /** Makes the pod of a Job, or changes its status. With a grace time, the pod was told to end. */
  putPod(job: JobObject, status: NonNullable<PodObject["status"]>, options?: PodOptions): PodObject;
  /** Changes the status of a Job. */
  putJobStatus(job: JobObject, status: NonNullable<JobObject["status"]>): void;
  /** Waits until the namespace is watched. */
  watched(): Promise<void>;
  /** Opens the type anew, as the next worker does. The cluster stays. */
  reopen(environment?: Record<string, string>): Promise<FakePool>;
}

interface PodOptions {
  name?: string;
  deletionGracePeriodSeconds?: number;
}

/** Opens the type with a cluster of its own. */
export async function openFakePool(environment: Record<string, string> = {}): Promise<FakePool> {
  const cluster = await startFakeKubernetes();
  const pool = await open(cluster, environment);
  const dispose = pool[Symbol.asyncDispose];
  pool[Symbol.asyncDispose] = async () => {
    await dispose();
    await cluster[Symbol.asyncDispose]();
  };
  return pool;
}

/** Opens the type with the cluster of a kubeconfig. */
export async function openPool(config: JsonObject, environment: Record<string, string> = {}): Promise<OpenedPool> {
  const directory = await makeTemporaryDirectory("lictor-fake-pool-");
  const { log, records } = recordingLogger();
  const lines: string[] = [];
  const kubeconfig = join(directory.path, "config");
  await writeFile(kubeconfig, JSON.stringify(config));
  const services = {
    environment: { KUBECONFIG: kubeconfig, ...environment },
    printLine: (_: string, { text }: { text: string }) => lines.push(text),
    hide: () => undefined,
    log,
  } as unknown as InfrastructureServices;
  const infrastructure = await openKubernetes(services);
  const [handles, events, reasons]: [Handle[], InfrastructureEvent[], string[]] = [[], [], []];
  const over = new AbortController();
  const facts = {
    workPool: { id: workPoolId, name: "p", base_job_template: kubernetesBaseJobTemplate } as unknown as WorkPool,
    flowRun: { id: flowRunId, name: "run" } as FlowRun,
    flow: null,
    deployment: null,
    workerName: "w",
    workerId: null,
    exportedSettings: { PREFECT_API_URL: "https://api.example/api", PREFECT_API_KEY: "key-of-prefect" },
    environment: {},
  } as unknown as RunFacts;
  const noReads = () => Promise.reject(new Error("nothing is read"));
  const readers = { readBlockDocument: noReads, readBlockDocumentById: noReads, findVariable: noReads };
  const pool: OpenedPool = {
    infrastructure,
    records,
    logs: () => records.filter((record) => "flow_run_id" in record).map(({ msg }) => msg),
    handles,
    events,
    reasons,
    lines,
    isWanted: true,
    async jobOf(variables = {}) {
      const run = { ...facts, flowRun: { ...facts.flowRun, job_variables: { image: "i:1", ...variables } } };
      return infrastructure.toJob(await resolveJobFields(run, readers), run);
    },
    options: {
      flowRunId,
      directory: null,
      signal: over.signal,
      instance: null,
      proposals: ["ours"],
      onEvent: (event) => void events.push(event),
      async onWaiting(reason) {
        reasons.push(reason);
        return pool.isWanted;
      },
      isAwaited: async () => pool.isWanted,
      onHandle: async (handle) => void handles.push(handle),
      hasEnded: false,
      readJob: () => Promise.reject(new Error("no job in this test")),
    },
    async [Symbol.asyncDispose]() {
      over.abort(new Error("the test is over"));
      infrastructure[Symbol.dispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
  return pool;
}

async function open(cluster: FakeKubernetes, environment: Record<string, string>): Promise<FakePool> {
  const ofCluster: Omit<FakePool, keyof OpenedPool> = {
    cluster,
    async jobs() {
      const response = await fetch(`${cluster.url}/apis/batch/v1/namespaces/default/jobs`);
      return ((await response.json()) as { items: JobObject[] }).items;
    },
    async job() {
      await waitFor(async () => (await ofCluster.jobs()).length === 1, { ...soon, what: "a Job" });
      return (await ofCluster.jobs())[0] as JobObject;
    },
    putPod(job, status, { name = `${job.metadata.name}-pod`, deletionGracePeriodSeconds } = {}) {
      const metadata = {
        name,
        ...(deletionGracePeriodSeconds !== undefined && {
          deletionTimestamp: "2026-01-01T00:00:30Z",
          deletionGracePeriodSeconds,
        }),
        namespace: job.metadata.namespace,
        labels: { ...job.metadata.labels, "job-name": job.metadata.name },
        ownerReferences: [{ kind: "Job", name: job.metadata.name, uid: job.metadata.uid }],
      };
      return cluster.put("pods", {
        metadata,
        spec: { nodeName: "node-1" },
        status,
      } as unknown as FakeObject) as PodObject;
    },
    putJobStatus(job, status) {
      cluster.put("jobs", { ...job, status } as unknown as FakeObject);
    },
    async watched() {
      await waitFor(() => cluster.watches().length >= 2, { ...soon, what: "the watches" });
    },
    reopen: (other = environment) => open(cluster, other),
  };
  return Object.assign(await openPool(kubeconfigOf(cluster), environment), ofCluster);
}

/** Returns a kubeconfig for the cluster. */
export function kubeconfigOf({ url }: Pick<FakeKubernetes, "url">): JsonObject {
  return {
    clusters: [{ name: "fake", cluster: { server: url } }],
    users: [{ name: "u", user: { token: "token" } }],
    contexts: [{ name: "fake", context: { cluster: "fake", user: "u" } }],
    "current-context": "fake",
  };
}

/** The time limit for what happens at once. */
export const soon = { timeoutMs: 10_000, intervalMs: 10 };

/** The status of a container that waits. */
export const waiting = (reason: string, message = ""): ContainerStatus => ({
  name: "prefect-job",
  state: { waiting: { reason, message } },
});

/** The status of a container that runs. */
export const running: ContainerStatus = {
  name: "prefect-job",
  state: { running: { startedAt: "2026-01-01T00:00:05Z" } },
};

/** The status of a container that has ended. */
export const terminated = (exitCode: number, reason: string): ContainerStatus => ({
  name: "prefect-job",
  state: { terminated: { exitCode, reason, startedAt: "2026-01-01T00:00:05Z", finishedAt: "2026-01-01T00:00:09Z" } },
});

/** The status of a Job whose pod failed. */
export const failedJob: NonNullable<JobObject["status"]> = {
  failed: 1,
  conditions: [{ type: "Failed", status: "True", reason: "BackoffLimitExceeded", message: "" }],
};

/** The status of a Job whose pod succeeded. */
export const completeJob: NonNullable<JobObject["status"]> = {
  succeeded: 1,
  conditions: [{ type: "Complete", status: "True" }],
};
