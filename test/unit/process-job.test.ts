// From job variables to the job of a process pool, one row per rule. Rows were checked against Prefect 3.9.1.
import { describe, expect, test } from "vitest";
import type { Deployment, Flow, FlowRun, Json, JsonObject, WorkPool } from "../../src/api/wire.ts";
import { processBaseJobTemplate } from "../../src/infrastructure/process/base-job-template.ts";
import { type ProcessJob, toProcessJob } from "../../src/infrastructure/process/process-job.ts";
import { type RunFacts, resolveJobFields } from "../../src/job/job-fields.ts";
import { workerLabels } from "../../src/job/labels.ts";
import type { ReferenceReaders } from "../../src/job/template.ts";
import { JobConfigurationError } from "../../src/job/typed-fields.ts";
import { prefectVersion } from "../../src/version.ts";

interface Case {
  /** Job variables of the deployment and of the flow run. */
  deployment?: JsonObject;
  flowRun?: JsonObject;
  /** Laid over the job_configuration and the variables' defaults of the default template. */
  template?: JsonObject;
  defaults?: JsonObject;
}

const workPool = { id: "pool-1", name: "pool", type: "process" } as WorkPool;

function baseJobTemplate({ template, defaults = {} }: Case): JsonObject {
  const { job_configuration, variables } = structuredClone(processBaseJobTemplate) as Record<string, JsonObject>;
  const properties = Object.entries(defaults).map(([key, value]) => [key, { default: value }]);
  return {
    job_configuration: { ...job_configuration, ...template },
    variables: { properties: { ...(variables?.properties as JsonObject), ...Object.fromEntries(properties) } },
  };
}

function inputOf(given: Case): RunFacts {
  const flowRun = { id: "run-1", name: "run", flow_id: "flow-1", deployment_id: "deployment-1", tags: ["t"] };
  const deployment = { id: "deployment-1", name: "dep", updated: "2026-01-02T03:04:05.123450Z" };
  return {
    workPool: { ...workPool, base_job_template: baseJobTemplate(given) },
    deployment: { ...deployment, job_variables: given.deployment ?? null } as Deployment,
    flowRun: { ...flowRun, state_type: null, job_variables: given.flowRun ?? null } as FlowRun,
    flow: { id: "flow-1", name: "flow", tags: [] } as Flow,
    workerName: "w",
    workerId: null,
    exportedSettings: {},
    environment: { HOME: "/home/l" },
  };
}

const readers: ReferenceReaders = {
  readBlockDocument: async () => ({ value: "block {{ prefect.variables.v }}" }),
  readBlockDocumentById: async () => ({ A: "from block" }),
  findVariable: async () => "variable",
};

async function makeJob(facts: RunFacts): Promise<ProcessJob> {
  return toProcessJob(await resolveJobFields(facts, readers), facts);
}

/** A job in few words: the command's words joined, and of `env` and `labels` only what the job itself put there. */
interface ShortJob {
  command: string | null;
  env: Record<string, string>;
  labels: Record<string, string>;
  name: string;
  streamOutput: boolean;
  workingDirectory: string | null;
}

async function build(given: Case): Promise<ShortJob> {
  const input = inputOf(given);
  const before = JSON.stringify(input);
  const { program, labels, name, streamOutput, workingDirectory } = await makeJob(input);
  expect(JSON.stringify(input)).toBe(before);
  const own = (all: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(all).filter(([key]) => !/^(PREFECT__|prefect\.io\/)/.test(key)));
  const command = program.command?.join(" ") ?? null;
  return { command, env: own(program.env), labels: own(labels), name, streamOutput, workingDirectory };
}

const nothing: ShortJob = {
  command: null,
  env: {},
  labels: {},
  name: "run",
  streamOutput: true,
  workingDirectory: null,
};

describe("the job of a process pool", () => {
  const rows: [rule: string, given: Case, expected: Partial<ShortJob>][] = [
    ["no job variables give the defaults", {}, {}],
    [
      "a flow run's job variable replaces the deployment's",
      { deployment: { command: "a" }, flowRun: { command: "b" } },
      { command: "b" },
    ],
    ["as a whole", { deployment: { labels: { a: "1" } }, flowRun: { labels: { b: "2" } } }, { labels: { b: "2" } }],
    [
      "env is merged by variable",
      { deployment: { env: { A: "1", B: "1" } }, flowRun: { env: { B: "2" } } },
      { env: { A: "1", B: "2" } },
    ],
    ["env of the flow run alone is taken whole", { flowRun: { env: { B: "2" } } }, { env: { B: "2" } }],
    ["a null in env is no variable", { deployment: { env: { A: "1" } }, flowRun: { env: { A: null } } }, { env: {} }],
    [
      "env values become text",
      { deployment: { env: { A: 1, B: true, C: [null], D: 0.5 } } },
      { env: { A: "1", B: "True", C: "[None]", D: "0.5" } },
    ],
    ["unknown job variables are ignored", { deployment: { cpu: 4 } }, {}],
    [
      "schema defaults fill in",
      { defaults: { command: "d", stream_output: false } },
      { command: "d", streamOutput: false },
    ],
    ["job variables win over defaults", { defaults: { command: "d" }, deployment: { command: "c" } }, { command: "c" }],
    [
      "job variables add to a default env",
      { defaults: { env: { A: "d", B: "d" } }, deployment: { env: { B: "v" } } },
      { env: { A: "d", B: "v" } },
    ],
    [
      "a default env is laid over the template's env",
      { template: { env: { A: "t", B: "t" } }, defaults: { env: { B: "d" } } },
      { env: { A: "t", B: "d" } },
    ],
    [
      "job variables add to the template's env",
      { template: { env: { A: "t", B: "t" } }, deployment: { env: { B: "v" } } },
      { env: { A: "t", B: "v" } },
    ],
    [
      "an empty env leaves the template's",
      { template: { env: { A: "t" } }, deployment: { env: {} } },
      { env: { A: "t" } },
    ],
    [
      "dotted keys are nested",
      { deployment: { "env.A": "1", "labels.b": "2" } },
      { env: { A: "1" }, labels: { b: "2" } },
    ],
    [
      "a plain env wins over dotted keys, from whichever level",
      { deployment: { env: { A: "plain" } }, flowRun: { "env.A": "dotted", "env.B": "b" } },
      { env: { A: "plain", B: "b" } },
    ],
    [
      "$ENV in a deployment's env stays text",
      { deployment: { env: { A: "{{ $HOME }}" } } },
      { env: { A: "{{ $HOME }}" } },
    ],
    [
      "but not once the pool has a default env",
      { defaults: { env: { X: "1" } }, deployment: { env: { A: "{{ $HOME }}" } } },
      { env: { A: "/home/l", X: "1" } },
    ],
    [
      "the template may use any variable",
      { template: { command: "run --{{ mode }}" }, deployment: { mode: "fast" } },
      { command: "run --fast" },
    ],
    [
      "blocks and variables in job variables resolve, variables last",
      { deployment: { env: { A: "{{ prefect.blocks.s.t }}" } } },
      { env: { A: "block variable" } },
    ],
    [
      "a $ref object becomes its document",
      { template: { env: { $ref: { block_document_id: "b" } } } },
      { env: { A: "from block" } },
    ],
    ["an empty command is the engine", { deployment: { command: "" } }, { command: null }],
    ["a blank one has no words", { deployment: { command: " " } }, { command: "" }],
    ["an empty working_dir is the worker's own", { deployment: { working_dir: "" } }, { workingDirectory: "." }],
    ["words for true", { deployment: { stream_output: "Yes" } }, { streamOutput: true }],
    ["words for false", { deployment: { stream_output: "OFF" } }, { streamOutput: false }],
    ["0 is false", { deployment: { stream_output: 0 } }, { streamOutput: false }],
    [
      "the name knows the flow and the flow run",
      { deployment: { name: "{{ ctx.flow.name }}-{{ ctx.flow_run.name }}" } },
      { name: "flow-run" },
    ],
    ["what is missing in a name is empty", { deployment: { name: "x{{ ctx.flow.nope }}" } }, { name: "x" }],
    ["unless it is all of the name", { deployment: { name: "{{ ctx.flow.nope }}" } }, { name: "{{ ctx.flow.nope }}" }],
    [
      "a name that comes to nothing is the flow run's",
      { deployment: { name: "{{ ctx.flow_run.state_type }}" } },
      { name: "run" },
    ],
    ["a list as a name is spelled by Python", { deployment: { name: "{{ ctx.flow_run.tags }}" } }, { name: "['t']" }],
  ];
  test.each(rows)("%s", async (_rule, given, expected) => {
    expect(await build(given)).toEqual({ ...nothing, ...expected });
  });

  const failures: [key: string, value: Json, message: string][] = [
    ["stream_output", "maybe", 'Job configuration key "stream_output" is "maybe", but true or false is expected.'],
    ["stream_output", 2, 'Job configuration key "stream_output" is 2, but true or false is expected.'],
    ["stream_output", null, 'Job configuration key "stream_output" is null, but true or false is expected.'],
    ["env", ["A=1"], 'Job configuration key "env" is a list, but an object is expected.'],
    ["env", "secret", 'Job configuration key "env" is a string, but an object is expected.'],
    ["env", null, 'Job configuration key "env" is null, but an object is expected.'],
    ["labels", { a: 1 }, 'Job configuration key "labels.a" is 1, but a string is expected.'],
    ["command", ["a"], 'Job configuration key "command" is a list, but a string or null is expected.'],
    ["name", 5, 'Job configuration key "name" is 5, but a string or null is expected.'],
    ["working_dir", true, 'Job configuration key "working_dir" is true, but a string or null is expected.'],
  ];
  test.each(failures)("%s: %j is an error", async (key, value, message) => {
    await expect(build({ deployment: { [key]: value } })).rejects.toThrow(new JobConfigurationError(message));
  });

  test("a null env of the flow run cannot be merged", async () => {
    const given = { deployment: { env: { A: "1" } }, flowRun: { env: null } };
    await expect(build(given)).rejects.toThrow('"env" is null');
  });

  test("a dotted key below a plain value is an error", async () => {
    await expect(build({ deployment: { "a.b": 1, "a.b.c": 2 } })).rejects.toThrow('Job variable "a.b.c" lies under');
  });

  test("a work pool without a template is an error", async () => {
    const input = { ...inputOf({}), workPool: { ...workPool, base_job_template: {} } };
    await expect(makeJob(input)).rejects.toThrow('work pool "pool" has no job_configuration');
  });

  test("the environment has the flow run's identity", async () => {
    const { program } = await makeJob(inputOf({ deployment: { env: { A: "1" } } }));
    expect(program.env).toEqual({
      A: "1",
      PREFECT__FLOW_RUN_ID: "run-1",
      PREFECT__WORKER_NAME: "w",
      PREFECT__FLOW_ID: "flow-1",
      PREFECT__FLOW_NAME: "flow",
      PREFECT__DEPLOYMENT_ID: "deployment-1",
      PREFECT__DEPLOYMENT_NAME: "dep",
    });
  });
});

describe("labels", () => {
  test("say where the flow run comes from, and the job's win", async () => {
    const { labels } = await makeJob(inputOf({ deployment: { labels: { "prefect.io/worker-name": "x" } } }));
    expect(labels).toEqual({
      "prefect.io/flow-run-id": "run-1",
      "prefect.io/flow-run-name": "run",
      "prefect.io/version": prefectVersion,
      "prefect.io/work-pool-name": "pool",
      "prefect.io/work-pool-id": "pool-1",
      "prefect.io/worker-name": "x",
      "prefect.io/flow-id": "flow-1",
      "prefect.io/flow-name": "flow",
      "prefect.io/deployment-id": "deployment-1",
      "prefect.io/deployment-name": "dep",
      "prefect.io/deployment-updated": "2026-01-02T03:04:05.123450+00:00",
    });
  });

  const times: [updated: string, label: string][] = [
    ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"],
    ["2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000+00:00"],
    ["2026-01-02T01:04:05.000001+02:00", "2026-01-01T23:04:05.000001+00:00"],
  ];
  test.each(times)("the deployment's update %s is %s", async (updated, label) => {
    const input = inputOf({});
    const deployment = { ...input.deployment, updated } as Deployment;
    const { labels } = await makeJob({ ...input, deployment });
    expect(labels["prefect.io/deployment-updated"]).toBe(label);
  });

  test("without a deployment and a flow there are none of theirs", async () => {
    const { labels } = await makeJob({ ...inputOf({}), deployment: null, flow: null });
    expect(Object.keys(labels).filter((key) => /flow-(id|name)$|deployment/.test(key))).toEqual([]);
  });

  test("the flow run gets the worker's and the program's", () => {
    const worker = { name: "w", type: "process" };
    expect(workerLabels(worker, workPool, { instance: "host-1-abcdef01", host: "host" })).toEqual({
      "lictor.instance": "host-1-abcdef01",
      "lictor.host": "host",
      "prefect.worker.name": "w",
      "prefect.worker.type": "process",
      "prefect.work-pool.name": "pool",
      "prefect.work-pool.id": "pool-1",
    });
  });
});

test("every placeholder of the default template is a variable, as servers demand", () => {
  const { job_configuration, variables } = processBaseJobTemplate as Record<string, JsonObject>;
  expect(Object.keys(job_configuration ?? {}).sort()).toEqual(Object.keys(variables?.properties ?? {}).sort());
});
