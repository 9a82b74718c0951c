// What `lictor doctor` says about the cluster of a kubernetes work pool.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { type FakeKubernetes, startFakeKubernetes } from "../fault/fake-kubernetes.ts";
import { prefectApi } from "../support/prefect-api.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { type Diagnosis, runDoctor } from "./run-doctor.ts";

const ofServer = (url: string): JsonObject => ({
  "current-context": "test",
  clusters: [{ name: "c", cluster: { server: url } }],
  users: [{ name: "u", user: { token: "s3cret-token" } }],
  contexts: [{ name: "test", context: { cluster: "c", user: "u" } }],
});

/** Creates a work pool whose jobs have these fields, and runs the doctor for it. */
async function diagnose(
  server: FakeKubernetes,
  fields: JsonObject = {},
  env: Record<string, string> = {},
): Promise<Diagnosis> {
  const name = `kubernetes-${randomUUID().slice(0, 8)}`;
  const template = { job_configuration: { command: null, ...fields }, variables: { type: "object", properties: {} } };
  await prefectApi(inject("apiUrl")).createWorkPool(name, { type: "kubernetes", base_job_template: template });
  await using directory = await makeTemporaryDirectory();
  const KUBECONFIG = join(directory.path, "config");
  await writeFile(KUBECONFIG, JSON.stringify(ofServer(server.url)));
  const diagnosis = await runDoctor({ PREFECT_API_URL: inject("apiUrl"), KUBECONFIG, ...env }, ["--pool", name]);
  expect(diagnosis.output).not.toContain("s3cret-token");
  return diagnosis;
}

test("version, permissions and the URL of the API in pods are looked at, and no Python is missed", async () => {
  await using server = await startFakeKubernetes();
  const diagnosis = await diagnose(server);
  expect(diagnosis.find("Kubernetes cluster")).toMatchObject({
    status: "pass",
    message: expect.stringMatching(`^v1.34.4 at ${server.url}, by the context 'test' of /`),
  });
  expect(diagnosis.find("Kubernetes permissions")).toMatchObject({
    status: "pass",
    message: "namespace 'default': all",
  });
  expect(diagnosis.find("API URL in pods")).toMatchObject({
    status: "warn",
    message: expect.stringContaining("is the pod itself, and not this machine"),
  });
  expect(diagnosis.find("Python").status).toBe("skip");
  expect(server.requests.every(({ headers }) => headers.authorization === "Bearer s3cret-token")).toBe(true);
});

test("a missing permission is named with its rule, and what it is for", async () => {
  await using server = await startFakeKubernetes();
  server.namespaces.add("flows");
  server.isDenied = ({ verb, resource, namespace }) =>
    namespace === "flows" && (resource === "jobs" ? ["create", "watch"].includes(verb) : resource === "events");
  const fields = { namespace: "flows", env: { PREFECT_API_URL: "https://api.example/api" } };
  const diagnosis = await diagnose(server, fields);
  expect(diagnosis.find("Kubernetes permissions")).toEqual({
    name: "Kubernetes permissions",
    status: "fail",
    message: "namespace 'flows': may not create/watch jobs, list events",
    advice:
      'Add to a Role of this namespace that is bound to this user: {apiGroups: ["batch"], resources: ["jobs"], verbs: ["create", "watch"]}, {apiGroups: [""], resources: ["events"], verbs: ["list"]}.',
  });
  expect(diagnosis.find("API URL in pods")).toMatchObject({ status: "pass", message: "https://api.example/api" });
  server.isDenied = ({ resource }) => resource === "events" || resource === "namespaces";
  expect((await diagnose(server)).find("Kubernetes permissions")).toMatchObject({
    status: "warn",
    message: "namespace 'default': may not list events",
    advice: expect.stringMatching(/^The reasons of pods that cannot be created are not known\. Add to a Role/),
  });
});

test("the permissions on secrets are needed only by the settings that write secrets", async () => {
  await using server = await startFakeKubernetes();
  server.isDenied = ({ resource }) => resource === "secrets";
  expect((await diagnose(server)).find("Kubernetes permissions").status).toBe("pass");
  const env = { PREFECT_INTEGRATIONS_KUBERNETES_WORKER_STORE_ENV_AS_SECRET: "true" };
  expect((await diagnose(server, {}, env)).find("Kubernetes permissions").message).toBe(
    "namespace 'default': may not create/patch/delete secrets",
  );
  const mistake = { PREFECT_INTEGRATIONS_KUBERNETES_WORKER_STORE_ENV_AS_SECRET: "maybe" };
  expect((await diagnose(server, {}, mistake)).find("Kubernetes cluster")).toMatchObject({
    status: "fail",
    message: expect.stringContaining("STORE_ENV_AS_SECRET is 'maybe'. It must be true or false."),
  });
});

test("a namespace that does not exist, and refused credentials, are failures that say what to do", async () => {
  await using server = await startFakeKubernetes();
  const missing = (await diagnose(server, { namespace: "nowhere" })).find("Kubernetes permissions");
  expect(missing).toMatchObject({ status: "fail", message: "namespace 'nowhere' does not exist" });
  server.tokens = new Set();
  expect((await diagnose(server)).find("Kubernetes cluster")).toMatchObject({
    status: "fail",
    message: expect.stringMatching(/does not accept the credentials of the context 'test' of .* renew them there/),
  });
});

test("a cluster that is not there, or not configured, is a failure that says what to do", async () => {
  await using server = await startFakeKubernetes();
  expect((await diagnose(server, {}, { KUBECONFIG: "/no/config" })).find("Kubernetes cluster")).toMatchObject({
    status: "fail",
    message: expect.stringMatching(
      /^No Kubernetes cluster is configured: \/no\/config does not exist.*cluster_config block/,
    ),
  });
  await server.stop();
  expect((await diagnose(server)).find("Kubernetes cluster")).toMatchObject({
    status: "fail",
    message: expect.stringMatching(/^Cannot reach the Kubernetes API at .*: ECONNREFUSED\. Nothing listens there/),
  });
});

test("the cluster of the work pool's block is the one that is looked at", async () => {
  await using server = await startFakeKubernetes();
  const block = { config: ofServer(server.url), context_name: "test" };
  const diagnosis = await diagnose(server, { cluster_config: block }, { KUBECONFIG: "/no/config" });
  expect(diagnosis.find("Kubernetes cluster").message).toContain("by the context 'test' of the cluster_config block");
});
