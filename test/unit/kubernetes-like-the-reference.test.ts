// The manifest of a Job beside that of the reference's kubernetes worker, field by field.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Flow, FlowRun, Json, JsonObject, WorkPool } from "../../src/api/wire.ts";
import { kubernetesBaseJobTemplate } from "../../src/infrastructure/kubernetes/base-job-template.ts";
import { toJobManifest } from "../../src/infrastructure/kubernetes/job-manifest.ts";
import { toKubernetesJob } from "../../src/infrastructure/kubernetes/kubernetes-job.ts";
import { type RunFacts, resolveJobFields } from "../../src/job/job-fields.ts";
import { isJsonObject } from "../../src/job/template.ts";
import { inCheckout } from "../support/checkout.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { ensureKubernetesWorker } from "../support/python-environment.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const apiUrl = "http://127.0.0.1:4200/api";

const names = {
  flowRunId: "11111111-1111-4111-8111-111111111111",
  flowRunName: "My Flow/ünder_score..x",
  flowId: "22222222-2222-4222-8222-222222222222",
  flowName: "a flow (日本語)",
  workPoolId: "33333333-3333-4333-8333-333333333333",
};

interface Case {
  readonly what: string;
  readonly variables?: JsonObject;
  /** Changes the job configuration of the default template. */
  readonly change?: (configuration: JsonObject) => void;
}

const sigterm = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR";
const reference = { name: "TOKEN", valueFrom: { secretKeyRef: { name: "s", key: "k" } } };
const at = (value: Json, path: string) =>
  path.split(".").reduce<Json>((found, key) => (found as JsonObject)[key] as Json, value) as JsonObject;
const container = "job_manifest.spec.template.spec.containers.0";

const setting =
  (path: string, fields: JsonObject) =>
  (configuration: JsonObject): void =>
    void Object.assign(at(configuration, path), fields);
const without =
  (path: string, key: string) =>
  (configuration: JsonObject): void => {
    delete at(configuration, path)[key];
  };

/** All name an image, because the default one is of another Python. */
const cases: readonly Case[] = [
  { what: "nothing" },
  { what: "a command", variables: { command: `python -c "print('a b')"` } },
  { what: "variables, one of them null", variables: { env: { A: "1", B: null, PREFECT__FLOW_NAME: null } } },
  {
    what: "a list of variables",
    variables: { env: [{ name: "A", value: "1" }, reference, { name: "B", value: null }] },
  },
  { what: "labels", variables: { labels: { "a.b.c/K k": "v v", plain: "a/b/c", "x_.y/z/w": "--_1_--", y: "***" } } },
  { what: "a label of the worker's own", variables: { labels: { "prefect.io/flow-run-id": "mine" } } },
  { what: "annotations", variables: { annotations: { "a b/c d": "any value!", e: "" } } },
  { what: "a namespace", variables: { namespace: "team-a" } },
  { what: "a name", variables: { name: "my-name" } },
  { what: "resources", variables: { cpu_request: "100m", cpu_limit: "1", memory_request: "1Mi", memory_limit: "2Mi" } },
  {
    what: "a service account, a policy and a ttl",
    variables: { service_account_name: "s", image_pull_policy: "Always", finished_job_ttl: 60 },
  },
  { what: "retries of Kubernetes", variables: { backoff_limit: 3 } },
  { what: "retries, and a behaviour", variables: { backoff_limit: 3, env: { [sigterm]: "die" } } },
  { what: "a behaviour", variables: { env: { [sigterm]: "die" } } },
  { what: "a behaviour that is a reference", variables: { env: [{ ...reference, name: sigterm }] } },
  {
    what: "retries, and a behaviour that is a reference",
    variables: { backoff_limit: 1, env: [{ ...reference, name: sigterm }] },
  },
  {
    what: "no backoff limit",
    change: without("job_manifest.spec", "backoffLimit"),
  },
  {
    what: "variables in the manifest",
    variables: { env: { A: "job" } },
    change: (configuration) => {
      at(configuration, container).env = [{ name: "A", value: "manifest" }, { name: "ONLY", value: "x" }, reference];
    },
  },
  {
    what: "labels and annotations in the manifest",
    variables: { labels: { a: "job" }, annotations: { b: "job" } },
    change: (configuration) => {
      const metadata = { labels: { a: "pod", "of pod": "x y" }, annotations: { b: "pod", c: "pod" } };
      at(configuration, "job_manifest.spec.template").metadata = metadata;
      at(configuration, "job_manifest").metadata = { labels: { "m m": "1" }, annotations: { "n n": "2" } };
    },
  },
  {
    what: "another container and other fields",
    change: (configuration) => {
      const spec = at(configuration, "job_manifest.spec.template.spec");
      (spec.containers as JsonObject[]).push({ name: "sidecar", image: "s" });
      Object.assign(spec, { nodeSelector: { a: "b" }, tolerations: [{ key: "k" }] });
      Object.assign(at(configuration, "job_manifest.spec"), { activeDeadlineSeconds: 60 });
    },
  },
  { what: "a list of arguments", change: setting(container, { args: ["a b", "c"] }) },
  { what: "an entrypoint", change: setting(container, { command: ["/bin/sh"] }) },
];

const refused: readonly Case[] = [
  { what: "no kind", change: without("job_manifest", "kind") },
  { what: "another kind", change: setting("job_manifest", { kind: "Pod" }) },
  {
    what: "a restart policy",
    change: setting("job_manifest.spec.template.spec", { restartPolicy: "OnFailure" }),
  },
  {
    what: "two missing fields",
    change: (configuration) => {
      const spec = at(configuration, "job_manifest.spec.template.spec");
      delete spec.parallelism;
      delete spec.containers;
    },
  },
  { what: "another container first", change: setting(container, { name: "mine" }) },
];

async function fieldsOf({ variables = {}, change }: Case): Promise<[JsonObject, RunFacts]> {
  const template = structuredClone(kubernetesBaseJobTemplate);
  change?.(template.job_configuration as JsonObject);
  const facts = {
    workPool: {
      id: names.workPoolId,
      name: "p",
      type: "kubernetes",
      base_job_template: template,
    } as unknown as WorkPool,
    flowRun: {
      id: names.flowRunId,
      name: names.flowRunName,
      flow_id: names.flowId,
      deployment_id: null,
      job_variables: { image: "i:1", ...variables },
    } as unknown as FlowRun,
    flow: { id: names.flowId, name: names.flowName } as Flow,
    deployment: null,
    workerName: "KubernetesWorker 1/ä",
    workerId: null,
    // The second is of the profile that the reference starts with.
    exportedSettings: { PREFECT_API_URL: apiUrl, PREFECT_SERVER_EPHEMERAL_ENABLED: "True" },
    environment: {},
  } satisfies RunFacts;
  const noReads = () => Promise.reject(new Error("nothing is read"));
  const readers = { readBlockDocument: noReads, readBlockDocumentById: noReads, findVariable: noReads };
  return [await resolveJobFields(facts, readers), facts];
}

type Answer = { manifest?: JsonObject; error?: string };

async function askReference(all: readonly Case[]): Promise<Answer[]> {
  const { python } = await ensureKubernetesWorker(console.error);
  await using directory = await makeTemporaryDirectory();
  const file = join(directory.path, "cases.json");
  const given = await Promise.all(all.map(async (one) => ({ fields: (await fieldsOf(one))[0], facts: names })));
  await writeFile(file, JSON.stringify(given));
  const script = inCheckout("test/fixtures/programs/kubernetes_manifests.py");
  const env = cleanEnvironment({ PREFECT_API_URL: apiUrl, HOME: directory.path });
  const { stdout, stderr } = await runCommand(python, [script, file], { env, cwd: directory.path });
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Answer[];
}

async function ask(one: Case): Promise<Answer> {
  const [fields, facts] = await fieldsOf(one);
  const ofRun = {
    flowRunId: names.flowRunId,
    instance: "",
    workerName: "w",
    attempt: ["claim"],
    streamsOutput: true,
    executesItself: true,
    podWatchSeconds: null,
    jobWatchSeconds: null,
  };
  try {
    return { manifest: await toJobManifest(toKubernetesJob(fields, facts), ofRun) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** The order of variables does not matter. The name has another end, and lictor adds two fields of its own. */
function comparable({ manifest = {}, error }: Answer): Json {
  const copy = structuredClone(manifest);
  const own = (key: string): boolean => key.startsWith("lictor.io/");
  const clean = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(clean);
    if (!isJsonObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key]) => !own(key))
        .map(([key, item]) => [key, clean(item)]),
    );
  };
  if (error !== undefined) return error;
  const metadata = copy.metadata as JsonObject;
  const { name, generateName, ...rest } = metadata;
  const spec = at(copy, "spec.template.spec.containers.0");
  const env = (spec.env as JsonObject[]).filter(
    (entry) => !/^(PREFECT_HOME|PREFECT_PROFILES_PATH)$/.test(String(entry.name)),
  );
  spec.env = env.sort((a, b) => (String(a.name) < String(b.name) ? -1 : 1));
  const prefix = generateName ?? String(name).slice(0, -10);
  return clean({ ...copy, metadata: { ...rest, prefix } });
}

test("the manifest is that of the reference, field by field", { timeout: 600_000 }, async () => {
  const theirs = await askReference(cases);
  const ours = await Promise.all(cases.map(ask));
  const rows = (answers: readonly Answer[]) => cases.map(({ what }, index) => [what, comparable(answers[index] ?? {})]);
  expect(rows(ours)).toEqual(rows(theirs));
  expect(theirs.filter(({ error }) => error)).toEqual([]);
});

test("what the reference refuses is refused with the same words", { timeout: 600_000 }, async () => {
  const theirs = await askReference(refused);
  for (const [index, one] of refused.entries()) {
    const { error = "nothing" } = await ask(one);
    expect(theirs[index]?.error, one.what).toContain(error);
  }
});
