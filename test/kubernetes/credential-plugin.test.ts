// Kubeconfigs with a credential plugin, as those of EKS, GKE and AKS, with tokens of a real cluster.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KubernetesObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { type KubernetesCluster, startKubernetes } from "../support/kubernetes-cluster.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { makePlugin } from "./credential-plugin.ts";
import { Namespace, soon } from "./namespace.ts";

let cluster: KubernetesCluster;
beforeAll(async () => {
  cluster = await startKubernetes();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

test("a token that expires soon is asked for again before", async () => {
  using namespace = await Namespace.create(cluster);
  const lasting = await namespace.serviceAccountToken();
  const secrets = `/api/v1/namespaces/${namespace.name}/secrets`;
  const body = { metadata: { name: "s" } };
  const secret = await namespace.admin.request<KubernetesObject>("POST", secrets, { body });
  const bound = await namespace.tokenOf("lictor", secret.metadata);
  await using directory = await makeTemporaryDirectory();
  const plugin = await makePlugin(directory.path);
  await plugin.setToken(bound, 36);
  await using pool = await namespace.open(plugin.user);
  await using _first = await namespace.start(pool, { name: "first" });
  const [info = ""] = await plugin.calls();
  expect(JSON.parse(info)).toMatchObject({ kind: "ExecCredential", spec: { cluster: { server: cluster.url } } });

  // It is renewed 30 s before it expires, and no more often than every 5 s.
  const readJob = () => pool.jobOf({ namespace: namespace.name });
  await plugin.setToken(lasting, 3_600);
  let runs = 1;
  const isAskedAgain = async () => {
    await using _run = await namespace.start(pool, { name: `run-${++runs}` });
    return (await plugin.calls()).length === 2;
  };
  await waitFor(isAskedAgain, { ...soon, intervalMs: 1_000, what: "the second call" });
  await namespace.admin.request("DELETE", `${secrets}/s`);
  await waitFor(async () => !(await namespace.isAccepted(bound)), { ...soon, what: "the end of the first token" });
  await using _second = await namespace.start(pool, { name: "second" });
  expect(await plugin.calls()).toHaveLength(2);
  expect(await pool.infrastructure.obstacle(readJob)).toBeNull();
});

test("a token that is refused is asked for again at once", async () => {
  using namespace = await Namespace.create(cluster);
  const lasting = await namespace.serviceAccountToken();
  await using directory = await makeTemporaryDirectory();
  const plugin = await makePlugin(directory.path);
  await plugin.setToken("none", 3_600);
  await using pool = await namespace.open(plugin.user);
  const starting = namespace.start(pool);
  await waitFor(async () => (await plugin.calls()).length >= 2, { ...soon, what: "the second call" });
  await plugin.setToken(lasting, 3_600);
  await using _execution = await starting;
  expect(await namespace.get("jobs")).toHaveLength(1);
});
