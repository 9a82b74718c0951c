// Jobs of flow runs in a real cluster: what its API server refuses, and what its controllers do.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { AsyncDisposables } from "../../src/async/async-disposables.ts";
import type { Execution } from "../../src/infrastructure/execution.ts";
import { isExpired } from "../../src/infrastructure/kubernetes/cluster/cluster-error.ts";
import type { JobObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { untilTheEnd } from "../fault/test-socket.ts";
import { type KubernetesCluster, startKubernetes } from "../support/kubernetes-cluster.ts";
import { waitFor } from "../support/wait-for.ts";
import { Namespace, pathOf, readManifests, soon } from "./namespace.ts";

let cluster: KubernetesCluster;
beforeAll(async () => {
  cluster = await startKubernetes();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

const limits = { kill: untilTheEnd, leave: untilTheEnd };
const times = { startedAt: "2026-01-01T00:00:05Z", finishedAt: "2026-01-01T00:00:09Z" };
const running = {
  phase: "Running",
  containerStatuses: [
    {
      name: "prefect-job",
      image: "i:1",
      imageID: "",
      ready: true,
      restartCount: 0,
      containerID: "c://1",
      state: { running: { startedAt: times.startedAt } },
    },
  ],
};
const waitingFor = (reason: string, message: string) => ({
  phase: "Pending",
  containerStatuses: [
    {
      name: "prefect-job",
      image: "i:1",
      imageID: "",
      ready: false,
      restartCount: 0,
      state: { waiting: { reason, message } },
    },
  ],
});
const ended = (exitCode: number, reason: string) => ({
  phase: exitCode === 0 ? "Succeeded" : "Failed",
  containerStatuses: [
    {
      ...running.containerStatuses[0],
      ready: false,
      state: { running: null, terminated: { exitCode, reason, containerID: "c://1", ...times } },
    },
  ],
});

/** Starts a flow run in a namespace of its own, and waits until its pod runs. */
async function startRunning(variables: JsonObject = {}) {
  await using opened = new AsyncDisposables();
  const namespace = await Namespace.create(cluster);
  opened.add(async () => namespace[Symbol.dispose]());
  const pool = await namespace.open();
  opened.add(async () => await pool[Symbol.asyncDispose]());
  const execution = await namespace.start(pool, variables);
  opened.add(async () => await execution[Symbol.asyncDispose]());
  const pod = await namespace.pod();
  await namespace.setStatus(pod, running);
  await execution.started;
  return { namespace, pool, execution, pod, ...opened.move() };
}

async function isOver(execution: Execution): Promise<boolean> {
  const notYet = Symbol("not yet");
  return (await Promise.race([execution.ended, Promise.resolve(notYet)])) !== notYet;
}

describe("a Job", () => {
  test.each<[string, JsonObject, RegExp]>([
    ["a quantity", { memory_limit: "12qq" }, /quantities must match the regular expression/],
    [
      "a name",
      { service_account_name: "Not Valid" },
      /manifest of .* is not valid: spec\.template\.spec\.serviceAccountName: .*Correct the job manifest/,
    ],
    ["a namespace", { namespace: "missing" }, /The namespace 'missing' does not exist/],
  ])("is refused once because of %s that is not valid", async (_, variables, words) => {
    using namespace = await Namespace.create(cluster);
    await using pool = await namespace.open();
    await expect(namespace.start(pool, variables)).rejects.toThrow(words);
    expect(await namespace.get("jobs")).toEqual([]);
  });

  test("is refused by a quota, which is named", async () => {
    using namespace = await Namespace.create(cluster);
    const quota = { metadata: { name: "few" }, spec: { hard: { "count/jobs.batch": "0" } } };
    const quotas = `/api/v1/namespaces/${namespace.name}/resourcequotas`;
    await namespace.admin.request("POST", quotas, { body: quota });
    const isCounted = async () =>
      (await namespace.admin.request<JsonObject>("GET", `${quotas}/few`)).status as JsonObject;
    await waitFor(async () => (await isCounted()).used !== undefined, { ...soon, what: "the quota" });
    await using pool = await namespace.open();
    await expect(namespace.start(pool)).rejects.toThrow(/The quota of the namespace does not allow it: .*few/);
  });

  test.each([
    ["succeeds", 0, "Completed", { kind: "exited", status: 0 }],
    [
      "fails",
      3,
      "Error",
      { kind: "exited", status: 3, why: expect.stringContaining("on node 'node-1' ended with exit code 3 (Error)") },
    ],
    [
      "uses too much memory",
      137,
      "OOMKilled",
      { status: 137, isCrash: true, why: expect.stringContaining("OOMKilled") },
    ],
  ])("that %s has that end, and then its time to live", async (_, exitCode, reason, ending) => {
    await using flowRun = await startRunning({ finished_job_ttl: 1 });
    const { namespace, pool, execution, pod } = flowRun;
    await namespace.setStatus(pod, ended(exitCode, reason));
    expect(await execution.ended).toMatchObject(ending);
    await waitFor(async () => (await namespace.get("jobs")).length === 0, { ...soon, what: "the end of the Job" });
    const events = pool.events.map(({ event }) => event.split(".").at(-1));
    expect(events).toEqual(["pending", "running", exitCode === 0 ? "succeeded" : "failed"]);
  });

  test("whose pod is evicted has not ended before its pod", async () => {
    await using flowRun = await startRunning();
    const { namespace, pool, execution, pod } = flowRun;
    await namespace.evict(pod.metadata.name);
    // The cluster counts the pod as failed, although its grace time has begun just now.
    await namespace.untilJob("the failed pod", ({ status }) => status?.failed === 1 && status.terminating === 1);
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(await isOver(execution)).toBe(false);
    await namespace.setStatus(pod, ended(143, "Error"));
    await namespace.removePod(pod);
    expect(await execution.ended).toMatchObject({
      ...{ status: 143, isCrash: true },
      why: expect.stringMatching(/ended with exit code 143 \(Error\)\. The pod was evicted/),
    });
    expect(pool.events.at(-1)?.event).toBe("prefect.kubernetes.pod.evicted");
  });

  test("that is cancelled stays until its pods are gone", async () => {
    await using flowRun = await startRunning({ command: "sleep 600" });
    const { namespace, execution, pod } = flowRun;
    const stopping = execution.stop("cancel", limits);
    await namespace.untilJob("the deletion", ({ metadata }) => metadata.deletionTimestamp !== undefined);
    const isTold = async () => (await namespace.get<JobObject>("pods"))[0]?.metadata.deletionTimestamp;
    await waitFor(isTold, { ...soon, what: "the deletion of the pod" });
    expect(await isOver(execution)).toBe(false);
    await namespace.setStatus(pod, ended(143, "Error"));
    await namespace.removePod(pod);
    expect(await stopping).toBe("stopped");
    expect(await execution.ended).toMatchObject({
      why: expect.stringMatching(
        /^The Kubernetes Job was deleted because its flow run was cancelled\..* exit code 143/,
      ),
    });
    expect(await namespace.get("jobs")).toEqual([]);
  });

  test("is created once by two workers, and both see its end", async () => {
    using namespace = await Namespace.create(cluster);
    await using one = await namespace.open();
    await using other = await namespace.open();
    const executions = await Promise.all([one, other].map((pool) => namespace.start(pool)));
    const pod = await namespace.pod();
    expect(await namespace.get("jobs")).toHaveLength(1);
    await namespace.setStatus(pod, ended(7, "Error"));
    for (const execution of executions) {
      await using over = execution;
      expect(await over.ended).toMatchObject({ status: 7 });
    }
  });
});

describe("a pod that waits", () => {
  test.each([
    ["ImagePullBackOff", "Back-off pulling image", "cannot pull its image"],
    ["InvalidImageName", "couldn't parse image name", "an image whose name is not valid"],
    ["CreateContainerConfigError", 'secret "s" not found', "cannot be configured"],
  ])("because of %s says so, and loses its Job at once when it is cancelled", async (reason, message, words) => {
    using namespace = await Namespace.create(cluster);
    await using pool = await namespace.open();
    await using execution = await namespace.start(pool);
    const pod = await namespace.pod();
    await namespace.setStatus(pod, waitingFor(reason, message));
    await waitFor(() => pool.reasons.some((text) => text.includes(words)), { ...soon, what: "the reason" });
    const stopping = execution.stop("cancel", limits);
    await namespace.untilJob("the deletion", ({ metadata }) => metadata.deletionTimestamp !== undefined);
    // What a kubelet says of a container that it never made.
    const lost = {
      exitCode: 137,
      reason: "ContainerStatusUnknown",
      message: "The container could not be located when the pod was terminated",
    };
    const [container] = waitingFor(reason, message).containerStatuses;
    await namespace.setStatus(pod, {
      phase: "Failed",
      containerStatuses: [{ ...container, state: { waiting: null, terminated: lost } } as JsonObject],
    });
    await namespace.removePod(pod);
    expect(await stopping).toBe("stopped");
    expect(await execution.ended).toMatchObject({ why: expect.stringContaining("never started") });
  });

  test("for a service account that does not exist has the reason of the cluster", async () => {
    using namespace = await Namespace.create(cluster);
    await using pool = await namespace.open();
    await using _execution = await namespace.start(pool, { service_account_name: "nobody" });
    await waitFor(() => pool.reasons.some((text) => text.includes('serviceaccount "nobody" not found')), {
      ...soon,
      what: "the reason",
    });
  });
});

test("a version that the API server has forgotten is recognised, and the end of a Job is seen after its restart", async () => {
  await using flowRun = await startRunning();
  const { namespace, execution, pod } = flowRun;
  await cluster.restartAndForget();
  const query = { watch: true, resourceVersion: 1, timeoutSeconds: 1 };
  const path = `/api/v1/namespaces/${namespace.name}/pods`;
  const watch = async () => {
    let text = "";
    for await (const chunk of await namespace.admin.open(path, { query })) text += String(chunk);
    return JSON.parse(text) as { type: string; object: { code: number } };
  };
  const answer = await watch().catch((error: unknown) => (isExpired(error) ? { object: { code: 410 } } : error));
  expect(answer).toMatchObject({ object: { code: 410 } });
  await namespace.setStatus(pod, ended(4, "Error"));
  expect(await execution.ended).toMatchObject({ status: 4 });
});

test.each(["namespace.yaml", "rbac.yaml", "deployment.yaml"])(
  "the API server accepts %s, and knows all its fields",
  async (file) => {
    using namespace = await Namespace.create(cluster);
    const query = { dryRun: "All", fieldValidation: "Strict" };
    for (const manifest of await readManifests(file)) {
      const created = await namespace.admin.request<JsonObject>("POST", pathOf(manifest, namespace.name), {
        body: manifest,
        query,
      });
      expect(created.kind).toBe(manifest.kind);
    }
  },
);
