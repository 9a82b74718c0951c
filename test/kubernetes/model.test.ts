// The model of a cluster that the simulation uses, beside a real one: the same requests, and the same changes of Jobs and pods.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { ClusterError } from "../../src/infrastructure/kubernetes/cluster/cluster-error.ts";
import type { JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { ModelCluster } from "../simulation/model-cluster.ts";
import { type KubernetesCluster, startKubernetes } from "../support/kubernetes-cluster.ts";
import { waitFor } from "../support/wait-for.ts";
import { Namespace, soon } from "./namespace.ts";

let real: KubernetesCluster;
beforeAll(async () => {
  real = await startKubernetes();
});
afterAll(async () => {
  await real?.[Symbol.asyncDispose]();
});

/** A cluster where the test plays the kubelet. */
interface Stage extends Disposable {
  /** Sends a request. The path begins after the namespace. Returns the status, and the body of a success or its reason. */
  send(method: string, path: string, body?: JsonObject): Promise<{ status: number; body: JsonObject }>;
  /** Puts a pod on a node. */
  bind(pod: PodObject): Promise<void>;
  setStatus(pod: PodObject, status: JsonObject): Promise<void>;
  /** Deletes a pod: as a user, or with 0 as the kubelet. */
  deletePod(pod: PodObject, graceSeconds?: number): Promise<void>;
  /** Waits until a condition holds. */
  until(what: string, is: () => Promise<boolean>): Promise<void>;
  /** Forgets the older versions. */
  forget(): Promise<void>;
}

async function openReal(): Promise<Stage> {
  const namespace = await Namespace.create(real);
  const { admin, name } = namespace;
  const pathOf = (path: string): string =>
    `${path.startsWith("jobs") ? "/apis/batch/v1" : "/api/v1"}/namespaces/${name}/${path}`;
  return {
    async send(method, path, body) {
      try {
        const query = Object.fromEntries(new URLSearchParams(path.split("?")[1]));
        const sent = { ...(body && { body }), query, retries: 0 };
        return { status: 200, body: await admin.request<JsonObject>(method, pathOf(path.split("?")[0] ?? ""), sent) };
      } catch (error) {
        if (!(error instanceof ClusterError)) throw error;
        return { status: error.status, body: { reason: error.reason } };
      }
    },
    async bind(pod) {
      const body = { metadata: { name: pod.metadata.name }, target: { kind: "Node", name: "node-1" } };
      await admin.request("POST", pathOf(`pods/${pod.metadata.name}/binding`), { body });
    },
    setStatus: (pod, status) => namespace.setStatus(pod, status),
    async deletePod({ metadata }, gracePeriodSeconds) {
      const body = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds };
      await admin.request("DELETE", pathOf(`pods/${metadata.name}`), { body });
    },
    until: async (what, is) => void (await waitFor(is, { ...soon, what })),
    forget: () => real.restartAndForget(),
    [Symbol.dispose]: () => namespace[Symbol.dispose](),
  };
}

/** The container of the only pod. */
const statusOf = (phase: string, state: JsonObject): JsonObject => ({
  phase,
  containerStatuses: [
    { name: "prefect-job", image: "i:1", imageID: "", ready: false, restartCount: 0, containerID: "c://1", state },
  ],
});
const running = statusOf("Running", { running: { startedAt: "2026-01-01T00:00:05Z" } });
const ended = (exitCode: number): JsonObject =>
  statusOf(exitCode === 0 ? "Succeeded" : "Failed", { running: null, terminated: { exitCode, containerID: "c://1" } });

function manifest(name: string, ttl: number | null = null): JsonObject {
  const template = {
    metadata: { labels: { own: "yes" } },
    spec: { restartPolicy: "Never", containers: [{ name: "prefect-job", image: "i:1", env: [] }] },
  };
  const metadata = { name, namespace: undefined, labels: { own: "yes" } };
  const spec = { backoffLimit: 0, template, ...(ttl !== null && { ttlSecondsAfterFinished: ttl }) };
  return JSON.parse(JSON.stringify({ apiVersion: "batch/v1", kind: "Job", metadata, spec })) as JsonObject;
}

/** A Job of a stage, with its pod. */
class Play {
  readonly seen: string[] = [];
  constructor(
    readonly stage: Stage,
    readonly name: string,
  ) {}

  async job(): Promise<JobObject | undefined> {
    const { status, body } = await this.stage.send("GET", `jobs/${this.name}`);
    return status === 200 ? (body as unknown as JobObject) : undefined;
  }

  async pod(): Promise<PodObject | undefined> {
    const { body } = await this.stage.send("GET", `pods?labelSelector=job-name%3D${this.name}`);
    return (body.items as unknown as PodObject[])[0];
  }

  /** Waits for the pod, and lets its container run. */
  async runs(): Promise<PodObject> {
    await this.stage.until("a pod", async () => (await this.pod()) !== undefined);
    const pod = (await this.pod()) as PodObject;
    await this.stage.bind(pod);
    await this.stage.setStatus((await this.pod()) as PodObject, running);
    return (await this.pod()) as PodObject;
  }

  /** Waits until Job and pod are like this, and notes it. */
  async shows(expected: string): Promise<void> {
    let last = "";
    const isSo = async (): Promise<boolean> => {
      last = `${describeJob(await this.job())}, ${describePod(await this.pod())}`;
      return last === expected;
    };
    await this.stage.until(expected, isSo).catch((error: unknown) => {
      throw new Error(`${expected}: it is ${last}`, { cause: error });
    });
    this.seen.push(expected);
  }
}

function describeJob(job: JobObject | undefined): string {
  if (!job) return "no Job";
  const { active = 0, failed = 0, succeeded = 0, conditions = [] } = job.status ?? {};
  const types = conditions.filter(({ status }) => status === "True").map(({ type }) => type);
  const counts = `Job ${active}/${failed}/${succeeded}${types
    .map((type) => ` ${type}`)
    .sort()
    .join("")}`;
  return `${counts}${job.metadata.deletionTimestamp ? " deleting" : ""}`;
}

function describePod(pod: PodObject | undefined): string {
  if (!pod) return "no pod";
  const { deletionTimestamp, deletionGracePeriodSeconds } = pod.metadata;
  return `pod ${pod.status?.phase}${deletionTimestamp ? ` deleting ${deletionGracePeriodSeconds}` : ""}`;
}

const stages = [
  ["the model", async (): Promise<Stage> => new ModelCluster()],
  ["a real cluster", openReal],
] as const;

test.each(stages)("%s refuses what exists, what is missing, and another uid", async (_, open) => {
  using stage = await open();
  const created = await stage.send("POST", "jobs", manifest("j"));
  expect(created.body).toMatchObject({ metadata: { name: "j", uid: expect.any(String) } });
  expect(await stage.send("POST", "jobs", manifest("j"))).toEqual({ status: 409, body: { reason: "AlreadyExists" } });
  expect(await stage.send("GET", "jobs/other")).toEqual({ status: 404, body: { reason: "NotFound" } });
  expect(await stage.send("DELETE", "jobs/other", {})).toEqual({ status: 404, body: { reason: "NotFound" } });
  const other = { preconditions: { uid: "00000000-0000-0000-0000-000000000000" } };
  expect(await stage.send("DELETE", "jobs/j", other)).toEqual({ status: 409, body: { reason: "Conflict" } });
});

test.each(stages)("%s lists in pages of one state, until it forgets that", async (_, open) => {
  using stage = await open();
  for (const name of ["a", "b", "c", "d", "e"]) await stage.send("POST", "jobs", manifest(name));
  const list = (next: string) =>
    stage.send("GET", `jobs?labelSelector=own&limit=2&continue=${encodeURIComponent(next)}`);
  const namesOf = ({ body }: { body: JsonObject }) =>
    (body.items as unknown as JobObject[]).map(({ metadata: { name } }) => name);
  const first = await list("");
  expect(namesOf(first)).toEqual(["a", "b"]);
  await stage.send("DELETE", "jobs/c", { propagationPolicy: "Background" });
  const { continue: token, resourceVersion } = first.body.metadata as { continue: string; resourceVersion: string };
  const second = await list(token);
  expect(namesOf(second)).toEqual(["c", "d"]);
  expect(second.body.metadata).toMatchObject({ resourceVersion });
  await stage.forget();
  const { continue: last } = second.body.metadata as { continue: string };
  expect(await list(last)).toEqual({ status: 410, body: { reason: "Expired" } });
});

test.each(stages)("%s completes a Job whose pod succeeds, and removes it after its time to live", async (_, open) => {
  using stage = await open();
  const play = new Play(stage, "j");
  await stage.send("POST", "jobs", manifest("j", 1));
  const pod = await play.runs();
  await play.shows("Job 1/0/0, pod Running");
  await stage.setStatus(pod, ended(0));
  await play.shows("Job 0/0/1 Complete SuccessCriteriaMet, pod Succeeded");
  await play.shows("no Job, no pod");
});

test.each(stages)("%s fails a Job whose pod fails", async (_, open) => {
  using stage = await open();
  const play = new Play(stage, "j");
  await stage.send("POST", "jobs", manifest("j"));
  await stage.setStatus(await play.runs(), ended(3));
  await play.shows("Job 0/1/0 Failed FailureTarget, pod Failed");
});

test.each(stages)("%s counts a pod as failed when it is told to end, whatever its exit code", async (_, open) => {
  using stage = await open();
  const play = new Play(stage, "j");
  await stage.send("POST", "jobs", manifest("j"));
  const pod = await play.runs();
  await stage.deletePod(pod);
  await play.shows("Job 0/1/0 FailureTarget, pod Running deleting 30");
  await stage.setStatus((await play.pod()) as PodObject, ended(0));
  await play.shows("Job 0/1/0 Failed FailureTarget, pod Succeeded deleting 30");
  await stage.deletePod(pod, 0);
  await play.shows("Job 0/1/0 Failed FailureTarget, no pod");
});

test.each(stages)("%s removes a pod without a node at once, and its Job has failed", async (_, open) => {
  using stage = await open();
  const play = new Play(stage, "j");
  await stage.send("POST", "jobs", manifest("j"));
  await play.shows("Job 1/0/0, pod Pending");
  await stage.deletePod((await play.pod()) as PodObject);
  await play.shows("Job 0/1/0 Failed FailureTarget, no pod");
});

test.each(stages)("%s keeps a Job that is deleted in the foreground until its pod is gone", async (_, open) => {
  using stage = await open();
  const play = new Play(stage, "j");
  await stage.send("POST", "jobs", manifest("j"));
  const pod = await play.runs();
  await stage.send("DELETE", "jobs/j", { propagationPolicy: "Foreground", gracePeriodSeconds: 7 });
  await play.shows("Job 0/0/0 deleting, pod Running deleting 30");
  await stage.setStatus((await play.pod()) as PodObject, ended(143));
  await stage.deletePod(pod, 0);
  await play.shows("no Job, no pod");
});

test.each(stages)("%s tells the pod of a Job to end that is deleted in the background", async (_, open) => {
  using stage = await open();
  const play = new Play(stage, "j");
  await stage.send("POST", "jobs", manifest("j"));
  const pod = await play.runs();
  await stage.send("DELETE", "jobs/j", { propagationPolicy: "Background" });
  await play.shows("no Job, pod Running deleting 30");
  await stage.setStatus((await play.pod()) as PodObject, ended(143));
  await stage.deletePod(pod, 0);
  await play.shows("no Job, no pod");
});
