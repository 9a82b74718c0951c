// The worker of docs/deploy/kubernetes/ in a pod of a real node: it finds the cluster by its service account.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { endOf } from "../docker/docker-pool.ts";
import { HOST_IMAGE } from "../support/engine-images.ts";
import { findFreePort } from "../support/free-port.ts";
import { LICTOR } from "../support/lictor.ts";
import { waitFor } from "../support/wait-for.ts";
import { whyNoWholeCluster } from "../support/whole-cluster.ts";
import { pathOf, readManifests, soon } from "./namespace.ts";
import { flowTimeoutMs, openWholeNamespace, podVolumes, type WholeNamespace, WholePool } from "./whole-pool.ts";

const missing = await whyNoWholeCluster();

interface Container extends JsonObject {
  livenessProbe: JsonObject;
  args: string[];
  env: JsonObject[];
  volumeMounts: JsonObject[];
}

interface Deployment extends JsonObject {
  spec: JsonObject & { template: { spec: JsonObject & { containers: [Container]; volumes: JsonObject[] } } };
}

/**
 * The Deployment of the documents for this pool, with the programs of this machine instead of an image. All pods share the
 * network of this machine, so there is one replica with a port of its own.
 */
async function deploymentFor({ name, shared }: WholePool): Promise<Deployment> {
  const [deployment] = (await readManifests("deployment.yaml")) as [Deployment];
  const { spec } = deployment.spec.template;
  const [container] = spec.containers;
  const bin = join(shared, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "lictor"), `#!/bin/sh\nexec ${LICTOR.join(" ")} "$@"\n`, { mode: 0o755 });
  const { volumes, volumeMounts } = await podVolumes(shared);
  const port = await findFreePort();
  // What the image would have.
  const variables = {
    PATH: `${bin}:/usr/bin:/bin`,
    HOME: "/tmp",
    LICTOR_STATE_DIR: "/var/lib/lictor",
    PREFECT_API_URL: inject("apiUrl"),
    PREFECT_WORKER_WEBSERVER_PORT: String(port),
  };
  const env = container.env.filter((entry) => entry.name !== "PREFECT_API_URL");
  Object.assign(container, {
    image: HOST_IMAGE,
    command: ["lictor", "worker", "start", "--with-healthcheck"],
    args: container.args.map((word) => (word === "my-pool" ? name : word)),
    env: [...env, ...Object.entries(variables).map(([name, value]) => ({ name, value }))],
    ports: [{ name: "health", containerPort: port }],
    volumeMounts: [...container.volumeMounts, ...volumeMounts],
    // A probe that fails would start the container again during the tests.
    livenessProbe: { ...container.livenessProbe, periodSeconds: 3 },
  });
  Object.assign(spec, { hostNetwork: true, volumes: [...spec.volumes, ...volumes] });
  deployment.spec.replicas = 1;
  return deployment;
}

describe.skipIf(missing)("a worker in a pod", { timeout: 600_000 }, () => {
  let whole: WholeNamespace;
  let pool: WholePool;
  let deployment: Deployment;

  beforeAll(async () => {
    whole = await openWholeNamespace();
    const { namespace } = whole;
    pool = await WholePool.create(whole);
    await namespace.serviceAccountToken();
    const secret = { metadata: { name: "prefect" }, stringData: { key: "pnu_unused" } };
    await namespace.admin.request("POST", `/api/v1/namespaces/${namespace.name}/secrets`, { body: secret });
    deployment = await deploymentFor(pool);
    await namespace.admin.request("POST", pathOf(deployment, namespace.name), { body: deployment });
  });
  afterAll(async () => await whole?.[Symbol.asyncDispose]());

  /** Waits until the worker is ready. Returns its pod. */
  async function workerPod(): Promise<PodObject> {
    const { namespace } = whole;
    const isReady = ({ metadata, status }: PodObject) =>
      metadata.labels?.["app.kubernetes.io/name"] === "lictor" &&
      status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True");
    const find = async () => (await namespace.get<PodObject>("pods")).find(isReady);
    return await waitFor(find, { timeoutMs: flowTimeoutMs, intervalMs: 500, what: "a worker that is ready" });
  }

  test("executes flow runs with the permissions of its service account", async () => {
    await workerPod();
    const { states } = await endOf(pool, await pool.runFlow("hello"), "COMPLETED");
    expect(states).not.toContain("Crashed");
  });

  test("goes on with a new token when its service account was made again", async () => {
    const { namespace } = whole;
    const before = await workerPod();
    const accounts = `/api/v1/namespaces/${namespace.name}/serviceaccounts`;
    const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "lictor" } };
    const token = await namespace.tokenOf("lictor");
    await namespace.admin.request("DELETE", `${accounts}/lictor`);
    await namespace.admin.request("POST", accounts, { body: account });
    // The API server remembers for 10 s that the token of the pod was valid.
    await waitFor(async () => !(await namespace.isAccepted(token)), { ...soon, what: "the end of the token" });
    const waiting = await pool.runFlow("hello");
    // The kubelet keeps a token in memory until it is old.
    await whole.cluster.restartKubelet();
    await endOf(pool, waiting, "COMPLETED");
    const after = await workerPod();
    expect(after.metadata.uid).toBe(before.metadata.uid);
    expect(after.status?.containerStatuses?.[0]?.restartCount).toBe(0);
  });

  test("lets its flow runs end when its Deployment is deleted", async () => {
    const { namespace } = whole;
    const id = await pool.runFlow("sleep", { seconds: 10 });
    await pool.api.waitForState(id, ["RUNNING"], flowTimeoutMs);
    await namespace.admin.request("DELETE", `${pathOf(deployment, namespace.name)}/lictor`);
    const { states } = await endOf(pool, id, "COMPLETED");
    expect(states).not.toContain("Crashed");
    const isGone = async () =>
      (await namespace.get<PodObject>("pods")).every(({ metadata }) => metadata.name.startsWith("lictor-") === false);
    await waitFor(isGone, { timeoutMs: 60_000, intervalMs: 500, what: "the end of the worker" });
  });
});
