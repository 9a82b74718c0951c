// The Role of docs/deploy/kubernetes/rbac.yaml with the service account's token, in a real cluster.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KubernetesObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { untilTheEnd } from "../fault/test-socket.ts";
import { type KubernetesCluster, startKubernetes } from "../support/kubernetes-cluster.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { Namespace, type Rule, soon } from "./namespace.ts";

let cluster: KubernetesCluster;
beforeAll(async () => {
  cluster = await startKubernetes();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

const storesSecrets = {
  PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_SECRET_FOR_API_KEY: "true",
  PREFECT_INTEGRATIONS_KUBERNETES_WORKER_STORE_ENV_AS_SECRET: "true",
};
const isRefusal = (text: string): boolean => /may not \w+ \w+/.test(text);
const failed = {
  phase: "Failed",
  containerStatuses: [
    {
      ...{ name: "prefect-job", image: "i", imageID: "", ready: false, restartCount: 0, containerID: "c://1" },
      state: { terminated: { exitCode: 1, reason: "Error" } },
    },
  ],
};

test("the Role is enough for a flow run, also with secrets", async () => {
  using namespace = await Namespace.create(cluster);
  const token = await namespace.serviceAccountToken();
  await using pool = await namespace.open({ token }, storesSecrets);
  await using execution = await namespace.start(pool, { command: "sleep 600" });
  await namespace.setStatus(await namespace.pod(), failed);
  expect(await execution.ended).toMatchObject({ status: 1 });
  const path = `/api/v1/namespaces/${namespace.name}/secrets`;
  const secrets = await namespace.admin.request<{ items: KubernetesObject[] }>("GET", path);
  // That with the environment belongs to the Job, and that with the API key does not.
  expect(secrets.items.map(({ metadata }) => metadata.ownerReferences?.[0]?.kind).sort()).toEqual(["Job", undefined]);
  expect(pool.records.map(({ msg }) => msg).filter(isRefusal)).toEqual([]);
});

/** What a worker says that may not do something: in the error of a start, in its log, or as the problem of a watch. */
async function refusalsWithout(namespace: Namespace, resource: string, verb: string): Promise<string[]> {
  const without = ({ verbs, ...rule }: Rule): Rule => {
    const isMeant = rule.resources.includes(resource);
    return { ...rule, verbs: verbs.filter((one) => !isMeant || one !== verb) };
  };
  const token = await namespace.serviceAccountToken((rules) => rules.map(without).filter(({ verbs }) => verbs.length));
  await using pool = await namespace.open({ token }, storesSecrets);
  const said = (): string[] => [
    ...pool.records.map(({ msg }) => msg),
    ...(pool.infrastructure.watches?.() ?? []).flatMap(({ problem }) => problem ?? []),
  ];
  const execution = await namespace.start(pool).catch((error: Error) => error);
  if (execution instanceof Error) return [execution.message];
  await using running = execution;
  if (verb === "delete") await running.stop("kill", { kill: untilTheEnd, leave: AbortSignal.timeout(2_000) });
  await waitFor(() => said().some(isRefusal), { ...soon, what: "the refusal" });
  return said().filter(isRefusal);
}

test.each([
  ["jobs", "create"],
  ["jobs", "list"],
  ["jobs", "watch"],
  ["jobs", "delete"],
  ["pods", "list"],
  ["pods", "watch"],
  ["secrets", "create"],
  ["secrets", "patch"],
])("who may not %s.%s is told the verb, the resource, the namespace and the rule", async (resource, verb) => {
  using namespace = await Namespace.create(cluster);
  const [said] = await refusalsWithout(namespace, resource, verb);
  const group = resource === "jobs" ? "batch" : "";
  const user = `'system:serviceaccount:${namespace.name}:lictor'`;
  expect(said).toContain(`${user} may not ${verb} ${resource} in namespace '${namespace.name}'`);
  expect(said).toContain(`{apiGroups: ["${group}"], resources: ["${resource}"], verbs: ["${verb}"]}`);
});

test("a token that is not valid any more is read again", async () => {
  using namespace = await Namespace.create(cluster);
  const lasting = await namespace.serviceAccountToken();
  const path = `/api/v1/namespaces/${namespace.name}/secrets`;
  const secret = await namespace.admin.request<KubernetesObject>("POST", path, { body: { metadata: { name: "s" } } });
  await using directory = await makeTemporaryDirectory();
  const [tokenFile, first] = [join(directory.path, "token"), await namespace.tokenOf("lictor", secret.metadata)];
  await writeFile(tokenFile, first);
  await using pool = await namespace.open({ tokenFile });
  await using execution = await namespace.start(pool);
  const pod = await namespace.pod();
  await namespace.admin.request("DELETE", `${path}/s`);
  // The API server remembers for 10 s that a token was valid.
  await waitFor(async () => !(await namespace.isAccepted(first)), { ...soon, what: "the end of the token" });
  await writeFile(tokenFile, lasting);
  await expect(namespace.start(pool, { name: "second" })).resolves.toBeDefined();
  await namespace.setStatus(pod, failed);
  expect(await execution.ended).toMatchObject({ status: 1 });
});
