// The creation of Jobs and secrets by an API server that loses answers, refuses and is away.
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { KubernetesObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { waitFor } from "../support/wait-for.ts";
import { type FakePool, openFakePool, soon } from "./fake-kubernetes-pool.ts";
import { type Answer, type KubernetesRequest, status } from "./kubernetes-answers.ts";

const quickly = {
  PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_JOB_RETRY_DELAY_SECONDS: "0",
  PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_JOB_RETRY_JITTER_MAX_SECONDS: "0",
};

const start = async (pool: FakePool, variables: JsonObject = {}, signal = pool.options.signal) =>
  await pool.infrastructure.start(await pool.jobOf(variables), { ...pool.options, signal });

/** The requests that change objects of this type. */
const changes = ({ cluster }: FakePool, resource = "jobs"): KubernetesRequest[] =>
  cluster.requests.filter((request) => request.resource === resource && request.method !== "GET");

/** Answers the first `times` creations of Jobs. */
function failCreations(pool: FakePool, answer: Answer, times = 1): void {
  let left = times;
  pool.cluster.faults.push(({ verb, resource }) =>
    verb === "create" && resource === "jobs" && left-- > 0 ? answer : undefined,
  );
}

/** Creates the first Job without an answer. `after` is called then. */
function loseFirstAnswer(pool: FakePool, after: (job: KubernetesObject) => void = () => undefined): void {
  let isLost = false;
  pool.cluster.faults.push(({ verb, resource, body, namespace }) => {
    if (verb !== "create" || resource !== "jobs" || isLost) return undefined;
    isLost = true;
    const manifest = JSON.parse(body);
    after(pool.cluster.put("jobs", { ...manifest, metadata: { ...manifest.metadata, namespace } }));
    return (response) => response.socket?.destroy();
  });
}

describe("the creation of a Job", () => {
  test("whose answer is lost is not repeated, because its Job is found", async () => {
    await using pool = await openFakePool(quickly);
    loseFirstAnswer(pool);
    await using execution = await start(pool);
    const job = await pool.job();
    expect(execution.handle.proof.jobUid).toBe(job.metadata.uid);
    expect(changes(pool).map(({ method }) => method)).toEqual(["POST"]);
  });

  test("whose answer is lost is not repeated if its Job has ended and is gone since", async () => {
    await using pool = await openFakePool(quickly);
    loseFirstAnswer(pool, ({ metadata: { name } }) => pool.cluster.remove("jobs", "default", name));
    pool.isWanted = false;
    await using execution = await start(pool);
    expect(await execution.ended).toMatchObject({ kind: "gone", mayHaveBegun: true });
    expect(changes(pool).map(({ method }) => method)).toEqual(["POST"]);
    expect(await pool.jobs()).toEqual([]);
  });

  test.each([
    ["whose pod was created is not repeated for a program", "SuccessfulCreate", 1],
    ["that never had a pod is repeated", "FailedCreate", 2],
  ])("whose answer is lost, and %s, if its Job is gone since", async (_, reason, creations) => {
    await using pool = await openFakePool(quickly);
    loseFirstAnswer(pool, ({ metadata: { name } }) => {
      pool.cluster.remove("jobs", "default", name);
      const item = { metadata: { name: "e", uid: "e", resourceVersion: "1" }, reason };
      const about = `involvedObject.kind=Job,involvedObject.name=${name}`;
      pool.cluster.faults.push(({ resource, query }) =>
        resource === "events" && query.get("fieldSelector") === about
          ? status(200, { items: [item], metadata: { resourceVersion: "1" } })
          : undefined,
      );
    });
    const job = await pool.jobOf({ reporter: "worker", command: "import" });
    await using execution = await pool.infrastructure.start(job, pool.options);
    expect(changes(pool)).toHaveLength(creations);
    if (creations === 1) expect(await execution.ended).toMatchObject({ kind: "gone", mayHaveBegun: true });
    else expect(await pool.jobs()).toHaveLength(1);
  });

  test.each<[string, Answer]>([
    ["a lost connection", (response) => response.socket?.destroy()],
    ["too many requests", status(429, { message: "too many" })],
    ["a server that fails", status(500, { message: "etcdserver: request timed out" })],
  ])("is repeated after %s", async (_, answer) => {
    await using pool = await openFakePool(quickly);
    failCreations(pool, answer, 2);
    await using _execution = await start(pool);
    expect(changes(pool)).toHaveLength(3);
    expect(await pool.jobs()).toHaveLength(1);
  });

  test("waits as long as the server asks for", async () => {
    await using pool = await openFakePool(quickly);
    failCreations(pool, status(429, {}, { "retry-after": "1" }));
    const before = performance.now();
    await using _execution = await start(pool);
    expect(performance.now() - before).toBeGreaterThan(900);
  });

  test.each<[string, number, JsonObject, string]>([
    [
      "an invalid manifest",
      422,
      {
        reason: "Invalid",
        message: "Job.batch is invalid",
        details: { kind: "Job", name: "x", causes: [{ field: "spec.backoffLimit", message: "must not be negative" }] },
      },
      "spec.backoffLimit: must not be negative",
    ],
    [
      "a missing permission",
      403,
      {
        reason: "Forbidden",
        message:
          'jobs.batch is forbidden: User "u" cannot create resource "jobs" in API group "batch" in the namespace "default"',
      },
      "Add this rule to a Role of namespace 'default'",
    ],
    [
      "a quota",
      403,
      { reason: "Forbidden", message: 'jobs.batch "x" is forbidden: exceeded quota: q' },
      "Raise the quota",
    ],
    [
      "an unknown namespace",
      404,
      { reason: "NotFound", message: "namespaces not found", details: { kind: "namespaces", name: "nope" } },
      "The namespace 'nope' does not exist",
    ],
  ])("is given up after %s, and says what to do", async (_, code, body, words) => {
    await using pool = await openFakePool(quickly);
    failCreations(pool, status(code, body));
    const error = await start(pool).catch((caught: unknown) => caught as Error);
    expect(error).toMatchObject({
      name: "InfrastructureError",
      message: expect.stringMatching(/^Unable to create Kubernetes job: .*\.?/),
      // It is in the log of the flow run.
      stack: expect.stringMatching(/^InfrastructureError: Unable to create Kubernetes job: .*$/),
    });
    expect((error as Error).message).toContain(words);
    expect(changes(pool)).toHaveLength(1);
  });

  test("by a server that fails for ever is given up after the attempts of the settings", async () => {
    await using pool = await openFakePool({
      ...quickly,
      PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_JOB_RETRY_MAX_RETRIES: "2",
    });
    failCreations(pool, status(500, { message: "failed calling webhook" }), Number.POSITIVE_INFINITY);
    await expect(start(pool)).rejects.toThrow(/^Unable to create Kubernetes job: .*webhook/);
    expect(changes(pool)).toHaveLength(2);
  });

  test("waits for a server that is away", async () => {
    await using pool = await openFakePool(quickly);
    await pool.cluster.stop();
    const started = start(pool);
    await new Promise((resolve) => setTimeout(resolve, 700));
    await pool.cluster.start();
    await using _execution = await started;
    expect(await pool.jobs()).toHaveLength(1);
  });

  test("that was executed when the flow run is stopped leaves its Job to the next worker", async () => {
    await using pool = await openFakePool(quickly);
    const stop = new AbortController();
    const reason = new Error("it is stopped");
    pool.cluster.faults.push(({ verb, resource, body, namespace }) => {
      if (verb !== "create" || resource !== "jobs") return undefined;
      const manifest = JSON.parse(body);
      pool.cluster.put("jobs", { ...manifest, metadata: { ...manifest.metadata, namespace } });
      return () => stop.abort(reason);
    });
    await using execution = await start(pool, {}, stop.signal);
    expect(execution.handle.proof.jobUid).toBe((await pool.job()).metadata.uid);
    expect(changes(pool).map(({ method }) => method)).toEqual(["POST"]);
  });

  test("that was not executed ends when the flow run is stopped, and leaves nothing", async () => {
    await using pool = await openFakePool(quickly);
    const stop = new AbortController();
    const reason = new Error("it is stopped");
    failCreations(pool, () => stop.abort(reason));
    await expect(start(pool, {}, stop.signal)).rejects.toBe(reason);
    expect(await pool.jobs()).toEqual([]);
  });

  test("is refused if a Job of somebody else has the name", async () => {
    await using pool = await openFakePool(quickly);
    await using execution = await start(pool);
    const job = await pool.job();
    pool.cluster.put("jobs", { ...job, metadata: { ...job.metadata, annotations: {} } } as never);
    await expect(start(pool)).rejects.toThrow(/belongs to something else\. Delete it/);
    expect(await pool.jobs()).toHaveLength(1);
    expect(execution.handle.identifier).toContain(job.metadata.name);
  });

  test("does not show the environment of the flow run when a server repeats it", async () => {
    await using pool = await openFakePool(quickly);
    failCreations(pool, status(400, { message: "cannot handle secret-value-1", reason: "BadRequest" }));
    const error = await start(pool, { env: { TOKEN: "secret-value-1" } }).catch((caught: unknown) => caught as Error);
    expect((error as Error).message).toContain("cannot handle ********");
    expect(JSON.stringify(pool.records)).not.toContain("secret-value-1");
  });
});

describe("secrets", () => {
  const prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_";
  const readSecret = async ({ cluster }: FakePool, name: string): Promise<JsonObject> =>
    (await (await fetch(`${cluster.url}/api/v1/namespaces/default/secrets/${name}`)).json()) as JsonObject;
  const containerOf = (job: unknown) =>
    (job as { spec: { template: { spec: { containers: JsonObject[] } } } }).spec.template.spec
      .containers[0] as JsonObject;
  const entryOf = (job: unknown, name: string) =>
    (containerOf(job).env as JsonObject[]).find((entry) => entry.name === name);

  test("with the API key are created by the worker, once", async () => {
    await using pool = await openFakePool({ [`${prefix}CREATE_SECRET_FOR_API_KEY`]: "true" });
    await using _one = await start(pool);
    const job = await pool.job();
    const secretKeyRef = { name: "prefect-w-api-key", key: "value" };
    expect(entryOf(job, "PREFECT_API_KEY")).toEqual({ name: "PREFECT_API_KEY", valueFrom: { secretKeyRef } });
    const { data } = await readSecret(pool, "prefect-w-api-key");
    expect(data).toEqual({ value: Buffer.from("key-of-prefect").toString("base64") });
    await using _other = await pool.infrastructure.start(await pool.jobOf(), { ...pool.options, proposals: ["next"] });
    expect(changes(pool, "secrets").map(({ method }) => method)).toEqual(["PUT", "POST"]);
  });

  test("with the API key may exist already", async () => {
    await using pool = await openFakePool({
      [`${prefix}API_KEY_SECRET_NAME`]: "mine",
      [`${prefix}API_KEY_SECRET_KEY`]: "k",
    });
    await using _execution = await start(pool);
    const secretKeyRef = { name: "mine", key: "k" };
    expect(entryOf(await pool.job(), "PREFECT_API_KEY")).toEqual({
      name: "PREFECT_API_KEY",
      valueFrom: { secretKeyRef },
    });
    expect(changes(pool, "secrets")).toEqual([]);
  });

  test("with the whole environment belong to the Job", async () => {
    await using pool = await openFakePool({ [`${prefix}STORE_ENV_AS_SECRET`]: "true" });
    const reference = { name: "R", valueFrom: { secretKeyRef: { name: "s", key: "k" } } };
    await using _execution = await start(pool, { env: [{ name: "A", value: "ä" }, reference] });
    const job = await pool.job();
    const name = `${job.metadata.name}-env`;
    expect(containerOf(job)).toMatchObject({ env: [reference], envFrom: [{ secretRef: { name } }] });
    expect(await readSecret(pool, name)).toMatchObject({
      metadata: {
        labels: { "app.kubernetes.io/managed-by": "prefect", "prefect.io/flow-run-id": pool.options.flowRunId },
        ownerReferences: [{ apiVersion: "batch/v1", kind: "Job", name: job.metadata.name, uid: job.metadata.uid }],
      },
      data: { A: Buffer.from("ä").toString("base64"), PREFECT_API_KEY: expect.any(String) },
    });
  });

  test("with the environment are removed if there is no Job", async () => {
    await using pool = await openFakePool({ ...quickly, [`${prefix}STORE_ENV_AS_SECRET`]: "true" });
    failCreations(pool, status(422, { message: "no", reason: "Invalid" }));
    await expect(start(pool)).rejects.toThrow(/Unable to create/);
    expect(changes(pool, "secrets").map(({ method }) => method)).toEqual(["POST", "DELETE"]);
  });
});

test.each<[string, string, string]>([
  ["WORKER_STORE_ENV_AS_SECRET", "perhaps", "It must be true or false."],
  ["WORKER_CREATE_JOB_RETRY_MAX_RETRIES", "0", "It must be a whole number of at least 1."],
])("a setting that cannot be used ends the start in one line: %s", async (name, value, words) => {
  const whole = `PREFECT_INTEGRATIONS_KUBERNETES_${name}`;
  await expect(openFakePool({ [whole]: value })).rejects.toThrow(`${whole} is '${value}'. ${words}`);
});

test("a flow run is not claimed while the cluster is away, and is later", async () => {
  await using pool = await openFakePool(quickly);
  const readJob = () => pool.jobOf();
  expect(await pool.infrastructure.obstacle(readJob)).toBeNull();
  await pool.infrastructure.findStarted("x", {});
  await pool.cluster.stop();
  await waitFor(async () => (await pool.infrastructure.obstacle(readJob)) !== null, { ...soon, what: "an obstacle" });
  expect(await pool.infrastructure.obstacle(readJob)).toMatch(/^Cannot reach the Kubernetes API/);
  await pool.cluster.start();
  await waitFor(async () => (await pool.infrastructure.obstacle(readJob)) === null, { ...soon, what: "no obstacle" });
});
