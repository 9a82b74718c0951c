// From job variables to the manifest of a Job, field by field. The values were checked against prefect-kubernetes 0.8.0.
import { describe, expect, test } from "vitest";
import type { Deployment, Flow, FlowRun, Json, JsonObject, WorkPool } from "../../src/api/wire.ts";
import { kubernetesBaseJobTemplate } from "../../src/infrastructure/kubernetes/base-job-template.ts";
import type { JobFacts } from "../../src/infrastructure/kubernetes/job-labels.ts";
import { toJobManifest, toJobName } from "../../src/infrastructure/kubernetes/job-manifest.ts";
import {
  executesItself,
  type KubernetesJob,
  toKubernetesJob,
} from "../../src/infrastructure/kubernetes/kubernetes-job.ts";
import { type RunFacts, resolveJobFields } from "../../src/job/job-fields.ts";
import { prefectVersion } from "../../src/version.ts";

const workPool = {
  id: "33333333-3333-4333-8333-333333333333",
  name: "p",
  type: "kubernetes",
  base_job_template: kubernetesBaseJobTemplate,
} as unknown as WorkPool;

const facts = {
  workPool,
  deployment: {
    id: "d-1",
    name: "My dep!",
    job_variables: null,
    updated: "2026-01-02T03:04:05.000678Z",
  } as unknown as Deployment,
  flowRun: { id: "r-1", name: "My Run", flow_id: "f-1", deployment_id: "d-1", job_variables: null } as FlowRun,
  flow: { id: "f-1", name: "a flow", tags: [] } as Flow,
  workerName: "KubernetesWorker 1/ä",
  workerId: null,
  exportedSettings: { PREFECT_API_URL: "http://api/api" },
  environment: {},
} satisfies RunFacts;

const ofRun: JobFacts = {
  flowRunId: "r-1",
  instance: "i",
  workerName: "w",
  attempt: ["claim", "submitting"],
  streamsOutput: true,
  executesItself: true,
  podWatchSeconds: null,
  jobWatchSeconds: null,
};

const noReads = () => Promise.reject(new Error("nothing is read"));
const readers = { readBlockDocument: noReads, readBlockDocumentById: noReads, findVariable: noReads };

/** The job with these job variables. `change` changes a copy of the job configuration of the default template. */
async function jobWith(
  variables: JsonObject = {},
  change?: (configuration: JsonObject) => void,
): Promise<KubernetesJob> {
  const template = structuredClone(kubernetesBaseJobTemplate);
  change?.(template.job_configuration as JsonObject);
  const run = {
    ...facts,
    workPool: { ...workPool, base_job_template: template },
    flowRun: { ...facts.flowRun, job_variables: variables },
  };
  return toKubernetesJob(await resolveJobFields(run, readers), run);
}

async function manifestWith(
  variables: JsonObject = {},
  change?: (configuration: JsonObject) => void,
): Promise<JsonObject> {
  return await toJobManifest(await jobWith(variables, change), ofRun);
}

/** Returns the value at a path such as `spec.template`. */
function at(value: Json, path: string): Json {
  return path.split(".").reduce<Json>((found, key) => (found as JsonObject)[key] as Json, value);
}

const container = "spec.template.spec.containers.0";
const sigterm = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR";
const manifestOf = (configuration: JsonObject): JsonObject => configuration.job_manifest as JsonObject;
const containerOf = (configuration: JsonObject): JsonObject => at(manifestOf(configuration), container) as JsonObject;

test("the default template makes this manifest", async () => {
  const labels = {
    "prefect.io/flow-run-id": "r-1",
    "prefect.io/flow-run-name": "My-Run",
    "prefect.io/version": prefectVersion,
    "prefect.io/work-pool-name": "p",
    "prefect.io/work-pool-id": workPool.id,
    "prefect.io/worker-name": "KubernetesWorker-1-a",
    "prefect.io/flow-id": "f-1",
    "prefect.io/flow-name": "a-flow",
    "prefect.io/deployment-id": "d-1",
    "prefect.io/deployment-name": "My-dep",
    "prefect.io/deployment-updated": "2026-01-02T03-04-05.000678-00-00",
    "app.kubernetes.io/managed-by": "prefect",
    "app.kubernetes.io/part-of": "prefect",
    "app.kubernetes.io/version": prefectVersion,
    "app.kubernetes.io/name": "My-dep",
    "lictor.io/work-pool-id": workPool.id,
  };
  expect(await manifestWith()).toEqual({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: expect.stringMatching(/^my-run-[0-9a-f]{10}$/),
      namespace: "default",
      labels,
      annotations: { "lictor.io/flow-run": JSON.stringify(ofRun) },
    },
    spec: {
      backoffLimit: 0,
      template: {
        metadata: { labels },
        spec: {
          parallelism: 1,
          completions: 1,
          restartPolicy: "Never",
          containers: [
            {
              name: "prefect-job",
              image: `prefecthq/prefect:${prefectVersion}-python3.12`,
              imagePullPolicy: "IfNotPresent",
              args: ["prefect", "flow-run", "execute"],
              resources: { limits: {}, requests: {} },
              env: [
                { name: "PREFECT_API_URL", value: "http://api/api" },
                { name: "PREFECT__WORKER_NAME", value: "KubernetesWorker 1/ä" },
                { name: "PREFECT__FLOW_ID", value: "f-1" },
                { name: "PREFECT__FLOW_NAME", value: "a flow" },
                { name: "PREFECT__DEPLOYMENT_ID", value: "d-1" },
                { name: "PREFECT__DEPLOYMENT_NAME", value: "My dep!" },
                { name: "PREFECT__FLOW_RUN_ID", value: "r-1" },
                { name: sigterm, value: "reschedule" },
              ],
            },
          ],
        },
      },
    },
  });
});

test.each<[string, JsonObject, string, Json]>([
  ["an image", { image: "i:1" }, `${container}.image`, "i:1"],
  ["a command", { command: "python -m 'a b'" }, `${container}.args`, ["python", "-m", "a b"]],
  ["a pull policy", { image_pull_policy: "Never" }, `${container}.imagePullPolicy`, "Never"],
  ["a namespace", { namespace: "team-a" }, "metadata.namespace", "team-a"],
  ["a service account", { service_account_name: "s" }, "spec.template.spec.serviceAccountName", "s"],
  ["a ttl", { finished_job_ttl: 60 }, "spec.ttlSecondsAfterFinished", 60],
  ["a backoff limit", { backoff_limit: 4 }, "spec.backoffLimit", 4],
  [
    "resources",
    { cpu_request: "100m", cpu_limit: "1", memory_request: "1Mi", memory_limit: "2Mi" },
    `${container}.resources`,
    { limits: { cpu: "1", memory: "2Mi" }, requests: { cpu: "100m", memory: "1Mi" } },
  ],
  [
    "annotations",
    { annotations: { "a b/c d": "any value!" } },
    "spec.template.metadata.annotations",
    { "a-b/c-d": "any value!" },
  ],
])("%s", async (_, variables, path, expected) => {
  expect(at(await manifestWith(variables), path)).toEqual(expected);
});

test("a label that is no label becomes a slug, and one of which nothing is left stays as it is", async () => {
  const labels = { "Some Key/ä b": "Some value!!", plain: "a/b/c", x: "日本語", y: "***" };
  const found = at(await manifestWith({ labels }), "spec.template.metadata.labels");
  expect(found).toMatchObject({ "Some-Key/a-b": "Some-value", plain: "a-b-c", x: "Ri-Ben-Yu", y: "***" });
});

describe("the environment", () => {
  const namesOf = (manifest: JsonObject) => (at(manifest, `${container}.env`) as JsonObject[]).map(({ name }) => name);
  const valueIn = (manifest: JsonObject, wanted: string) =>
    (at(manifest, `${container}.env`) as JsonObject[]).filter(({ name }) => name === wanted);

  test("of a list keeps references behind the variables, and entries without a value", async () => {
    const reference = { name: "TOKEN", valueFrom: { secretKeyRef: { name: "s", key: "k" } } };
    const env = [
      reference,
      { name: "A", value: "1" },
      { name: "B", value: 2 },
      { name: "C", value: null },
      { name: "D" },
    ];
    const manifest = await manifestWith({ env });
    expect(valueIn(manifest, "B")).toEqual([{ name: "B", value: "2" }]);
    expect(namesOf(manifest).slice(-4)).toEqual(["TOKEN", sigterm, "C", "D"]);
    expect(valueIn(manifest, "TOKEN")).toEqual([reference]);
  });

  test("of the manifest comes last and never wins", async () => {
    const given = [
      { name: "A", value: "manifest" },
      { name: "ONLY", value: "x" },
    ];
    const manifest = await manifestWith({ env: { A: "job" } }, (configuration) => {
      containerOf(configuration).env = given;
    });
    expect(valueIn(manifest, "A")).toEqual([{ name: "A", value: "job" }]);
    expect(namesOf(manifest).at(-1)).toBe("ONLY");
  });

  test.each<[string, JsonObject, boolean, string]>([
    ["reschedules at an eviction without retries of Kubernetes", {}, false, "reschedule"],
    ["does as the job says without retries of Kubernetes", { env: { [sigterm]: "die" } }, false, "die"],
    ["relinquishes with retries of Kubernetes", { backoff_limit: 1 }, false, "relinquish"],
    [
      "relinquishes with retries, whatever the job says",
      { backoff_limit: 1, env: { [sigterm]: "die" } },
      false,
      "relinquish",
    ],
    ["relinquishes without a backoff limit, because Kubernetes' own is 6", {}, true, "relinquish"],
  ])("%s", async (_, variables, isLimitRemoved, expected) => {
    const manifest = await manifestWith(variables, (configuration) => {
      if (isLimitRemoved) delete (manifestOf(configuration).spec as JsonObject).backoffLimit;
    });
    expect(valueIn(manifest, sigterm)).toEqual([{ name: sigterm, value: expected }]);
  });

  test("is no part of what a log record shows of the job", async () => {
    const job = await jobWith({ env: { TOKEN: "secret-1" } });
    expect(JSON.stringify({ ...job, program: null })).not.toContain("secret-1");
  });
});

describe("the name of the Job", () => {
  test.each<[string, JsonObject, string]>([
    ["is made of that of the flow run", {}, "my-run-"],
    ["is the job's, made to fit", { name: "My Name" }, "my-name-"],
    ["has its placeholders replaced", { name: "x {{ ctx.flow.name }}" }, "x-a-flow-"],
    ["is another one if nothing is left of it", { name: "!!!" }, "prefect-job-"],
    ["is cut", { name: "n".repeat(80) }, `${"n".repeat(45)}-`],
  ])("%s", async (_, variables, prefix) => {
    const name = at(await manifestWith(variables), "metadata.name") as string;
    expect(name.slice(0, -10)).toBe(prefix);
    expect(name.length).toBeLessThanOrEqual(63);
  });

  test("is the same for the same attempt only", async () => {
    const job = await jobWith();
    const names = await Promise.all([
      toJobName(job, ofRun),
      toJobName(job, { ...ofRun }),
      toJobName(job, { ...ofRun, attempt: ["another"] }),
      toJobName(job, { ...ofRun, flowRunId: "r-2" }),
    ]);
    expect(names[1]).toBe(names[0]);
    expect(new Set(names).size).toBe(3);
  });
});

describe("a manifest is refused that", () => {
  test.each<[string, (manifest: JsonObject) => void, string]>([
    [
      "lacks what the reference needs",
      (manifest) => {
        delete manifest.kind;
        delete (at(manifest, "spec.template.spec") as JsonObject).completions;
      },
      "Job is missing required attributes at the following paths: /kind, /spec/template/spec/completions",
    ],
    [
      "has other values",
      (manifest) => {
        manifest.apiVersion = "v1";
        (at(manifest, "spec.template.spec") as JsonObject).restartPolicy = "OnFailure";
      },
      "Job has incompatible values for the following attributes: /apiVersion must have value 'batch/v1', /spec/template/spec/restartPolicy must have value 'Never'",
    ],
    [
      "has no container",
      (manifest) => {
        (at(manifest, "spec.template.spec") as JsonObject).containers = [];
      },
      "Job is missing required attributes at the following paths: /spec/template/spec/containers/0",
    ],
    [
      "has a number for a command",
      (manifest) => {
        (at(manifest, container) as JsonObject).args = 1;
      },
      "Invalid job manifest template: 'command' must be a string or list.",
    ],
  ])("%s", async (_, change, message) => {
    await expect(jobWith({}, (configuration) => change(manifestOf(configuration)))).rejects.toThrow(message);
  });
});

test.each<[string, JsonObject, boolean]>([
  ["no command", {}, true],
  ["Prefect's own command", { command: "prefect flow-run execute --x" }, true],
  ["another command", { command: "python -c 1" }, false],
])("a job with %s says whether it executes the flow run itself", async (_, variables, expected) => {
  expect(executesItself(await jobWith(variables))).toBe(expected);
});

test("a job of any template takes the defaults of what is missing", async () => {
  const job = await jobWith({}, (configuration) => {
    for (const key of ["namespace", "stream_output", "cluster_config", "annotations", "pod_watch_timeout_seconds"])
      delete configuration[key];
  });
  expect(job).toMatchObject({ namespace: "default", streamOutput: true, cluster: null, podWatchSeconds: null });
});

test("the time limit of a pod that all templates have sets none", async () => {
  expect((await jobWith()).podWatchSeconds).toBeNull();
  expect((await jobWith({ pod_watch_timeout_seconds: 61 })).podWatchSeconds).toBe(61);
  expect((await jobWith({ job_watch_timeout_seconds: 5 })).jobWatchSeconds).toBe(5);
});

describe("a program whose states the worker reports", () => {
  const parameters = { who: "a 'b' $(PREFECT_API_KEY) $$ $" };
  const reported = async (variables: JsonObject, change?: (configuration: JsonObject) => void): Promise<JsonObject> => {
    const template = structuredClone(kubernetesBaseJobTemplate);
    change?.(template.job_configuration as JsonObject);
    const run = {
      ...facts,
      workPool: { ...workPool, base_job_template: template },
      flowRun: { ...facts.flowRun, parameters, job_variables: variables },
    };
    const manifest = await toJobManifest(toKubernetesJob(await resolveJobFields(run, readers), run), ofRun);
    return at(manifest, container) as JsonObject;
  };
  const words = ["echo", "a 'b' $$(PREFECT_API_KEY) $$$$ $$"];

  test.each<[string, JsonObject, ((configuration: JsonObject) => void)?]>([
    ["a program", { program: ["echo", "{{ parameters.who }}"] }],
    ["a command", { command: "echo {{ parameters.who }}", reporter: "worker" }],
    [
      "a template of the reference",
      { program: ["echo", "{{ parameters.who }}"] },
      (configuration) => {
        for (const key of ["program", "reporter"]) delete configuration[key];
      },
    ],
  ])("gets each parameter as one argument that no cluster changes: %s", async (_, variables, change) => {
    const found = await reported(variables, change);
    expect(found).toMatchObject({
      args: words,
      terminationMessagePath: "/dev/termination-log",
      terminationMessagePolicy: "File",
    });
    const env = Object.fromEntries((found.env as JsonObject[]).map(({ name, value }) => [name, value]));
    expect(env.LICTOR_RESULT_FILE).toBe("/dev/termination-log");
    expect(env.PREFECT__PARAMETERS).not.toMatch(/\$[($]/);
    expect(JSON.parse(String(env.PREFECT__PARAMETERS))).toEqual(parameters);
  });

  test.each<[JsonObject, Json]>([
    [{ program: ["x"], finished_job_ttl: 5 }, 300],
    [{ program: ["x"], finished_job_ttl: 900 }, 900],
    [{ program: ["x"] }, null],
    [{ finished_job_ttl: 5 }, 5],
  ])("leaves its Job long enough for its exit code to be seen: %j", async (variables, seconds) => {
    const job = await jobWith(variables);
    expect(at(await toJobManifest(job, ofRun), "spec.ttlSecondsAfterFinished") ?? null).toBe(seconds);
  });

  test("may be a list of arguments in the manifest, with a path of its own for the result", async () => {
    const found = await reported({ reporter: "worker" }, (configuration) => {
      Object.assign(containerOf(configuration), { args: ["a b", "c"], terminationMessagePath: "/out/result" });
    });
    expect(found).toMatchObject({ args: ["a b", "c"], terminationMessagePath: "/out/result" });
    expect(found.env).toContainEqual({ name: "LICTOR_RESULT_FILE", value: "/out/result" });
  });
});
