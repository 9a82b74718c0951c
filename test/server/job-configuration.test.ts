// What a flow run's process gets, seen by a probe that writes down its environment, directory and arguments.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { runInTerminal } from "../support/in-terminal.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

interface Probe {
  argv: string[];
  cwd: string;
  env: Record<string, string | undefined>;
}

async function readProbe(file: string): Promise<Probe> {
  return await waitFor(
    async () => {
      const text = await readFile(file, "utf8").catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as Probe);
    },
    { timeoutMs: 30_000, what: `the probe to write ${file}` },
  );
}

/** Runs the probe once with these job variables, in a worker with this environment. */
async function probe(options: {
  jobVariables?: JsonObject;
  runVariables?: JsonObject;
  workerEnv?: Record<string, string>;
  args?: string[];
}): Promise<Probe & { flowRunId: string; deploymentId: string }> {
  await using directory = await makeTemporaryDirectory("lictor-probe-");
  const file = join(directory.path, "probe.json");
  const api = sharedApi();
  const pool = await newPool(api);
  const { env = {}, ...jobVariables } = options.jobVariables ?? {};
  const deploymentId = await deploy(api, pool, "hello", {
    jobVariables: {
      command: programCommand("env-probe.mjs", ...(options.args ?? [])),
      env: { PROBE_FILE: file, ...(env as JsonObject) },
      ...jobVariables,
    },
  });
  // Before the worker gives the pool a base job template, by which the server would refuse a number in `env`.
  const flowRun = await api.createFlowRun(
    deploymentId,
    options.runVariables ? { jobVariables: options.runVariables } : {},
  );
  await using _worker = await startWorker(pool, {
    apiUrl: inject("apiUrl"),
    name: "prober",
    ...(options.workerEnv ? { env: options.workerEnv } : {}),
  });
  return { ...(await readProbe(file)), flowRunId: flowRun.id, deploymentId };
}

describe("a flow run's process", () => {
  test("knows its flow run, deployment and worker, and how to reach the API", async () => {
    const seen = await probe({});
    expect(seen.env).toMatchObject({
      PREFECT__FLOW_RUN_ID: seen.flowRunId,
      PREFECT__DEPLOYMENT_ID: seen.deploymentId,
      PREFECT__WORKER_NAME: "prober",
      PREFECT__FLOW_NAME: "hello",
      PREFECT_API_URL: inject("apiUrl"),
    });
  });

  test("gets arguments as a POSIX shell would split them", async () => {
    const seen = await probe({ args: ["'two words'", '"a \\"quote\\""', "plain"] });
    expect(seen.argv).toEqual(["two words", 'a "quote"', "plain"]);
  });

  test("gets block and variable values, secrets in clear, numbers as text", async () => {
    const api = sharedApi();
    const suffix = Math.random().toString(36).slice(2, 8);
    await api.createBlock("secret", `probe-${suffix}`, { value: "block-secret-value" });
    await api.createVariable(`probe_${suffix}`, 42);
    const seen = await probe({
      jobVariables: {
        env: {
          FROM_BLOCK: `{{ prefect.blocks.secret.probe-${suffix} }}`,
          FROM_VARIABLE: `{{ prefect.variables.probe_${suffix} }}`,
          EMBEDDED: `v=<{{ prefect.variables.probe_${suffix} }}>`,
          MISSING: "<{{ prefect.variables.nowhere_to_be_found }}>",
          NUMBER: 7,
        },
      },
    });
    expect(seen.env).toMatchObject({
      FROM_BLOCK: "block-secret-value",
      FROM_VARIABLE: "42",
      EMBEDDED: "v=<42>",
      MISSING: "<>",
      NUMBER: "7",
    });
  });

  test("gets numbers as Python writes them", async () => {
    const name = `numbers_${Math.random().toString(36).slice(2, 8)}`;
    const headers = { "content-type": "application/json" };
    // PostgreSQL would make a whole number of 1e16.
    const body = `{"name":"${name}","value":{"a":[1.0,1e-7,2.50],"b":12345678901234567890}}`;
    const created = await fetch(`${inject("apiUrl")}/variables/`, { method: "POST", headers, body });
    expect(created.status).toBe(201);
    const seen = await probe({ jobVariables: { env: { NUMBERS: `{{ prefect.variables.${name} }}` } } });
    expect(seen.env.NUMBERS).toBe("{'a': [1.0, 1e-07, 2.5], 'b': 12345678901234567890}");
  });

  test("sees the flow run's variables over the deployment's, over the worker's environment", async () => {
    const seen = await probe({
      workerEnv: { LAYER_A: "worker", LAYER_B: "worker", LAYER_C: "worker" },
      jobVariables: { env: { LAYER_B: "deployment", LAYER_C: "deployment" } },
      runVariables: { env: { LAYER_C: "run" } },
    });
    expect(seen.env).toMatchObject({ LAYER_A: "worker", LAYER_B: "deployment", LAYER_C: "run" });
  });

  test("gets the settings of the active profile", async () => {
    await using home = await makeTemporaryDirectory("lictor-profile-");
    const { writeFile } = await import("node:fs/promises");
    const file = join(home.path, "profiles.toml");
    await writeFile(file, 'active = "mine"\n[profiles.mine]\nPREFECT_RESULTS_PERSIST_BY_DEFAULT = "true"\n');
    const seen = await probe({ workerEnv: { PREFECT_PROFILES_PATH: file } });
    expect(seen.env.PREFECT_RESULTS_PERSIST_BY_DEFAULT).toMatch(/^true$/i);
  });

  test("runs in the working directory asked for, else in a temporary one that is removed", async () => {
    const asked = await probe({ jobVariables: { working_dir: inCheckout("test/fixtures") } });
    expect(asked.cwd).toBe(inCheckout("test/fixtures"));
    const temporary = await probe({});
    expect(temporary.cwd).toMatch(/lictor-flow-run-/);
    const { stat } = await import("node:fs/promises");
    await waitFor(
      async () =>
        await stat(temporary.cwd).then(
          () => false,
          () => true,
        ),
      {
        timeoutMs: 20_000,
        what: `${temporary.cwd} to be removed`,
      },
    );
  });

  test("prints to the worker's output, or nowhere when stream_output is false", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const flood = programCommand("flood-stdout.mjs", "3");
    const loud = await deploy(api, pool, "hello", { jobVariables: { command: flood } });
    const silent = await deploy(api, pool, "hello", { jobVariables: { command: flood, stream_output: false } });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--limit", "1"] });
    await api.createFlowRun(silent, { name: "silent-one" });
    await worker.waitForOutput(/Flow run 'silent-one' submitted to infrastructure/, 20_000);
    expect(worker.stdout).not.toContain("done");
    await api.createFlowRun(loud);
    await worker.waitForOutput(/^line 2 x+\ndone$/m, 20_000);
    expect(worker.stdout.match(/^done$/gm)).toHaveLength(1);
  });

  test("prints JSON records of the flow run's where log records are JSON, not to be sent to the API", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `sh -c 'echo "one \\"quoted\\""; printf "two €" >&2'`;
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
    const lines: string[] = [];
    const args = ["--run-once", "--log-format", "json"];
    await using worker = await startWorker(pool, {
      apiUrl: inject("apiUrl"),
      args,
      onLine: (line) => lines.push(line),
    });
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const records = lines.map((line) => JSON.parse(line) as { name: string });
    const record = { level: 30, time: expect.any(Number), name: "prefect.flow_runs.output", flow_run_id: id };
    const printed = records.filter(({ name }) => name === record.name);
    expect(printed).toHaveLength(2);
    expect(printed).toContainEqual({ ...record, stream: "stdout", msg: 'one "quoted"' });
    expect(printed).toContainEqual({ ...record, stream: "stderr", msg: "two €" });
    const sent = await api.readLogs(id);
    expect(sent.map(({ name }) => name)).not.toContain(record.name);
  });

  test("prints to a file that outlives the worker, and the worker copies the lines as they are", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `sh -c 'readlink /proc/$$/fd/1; printf two >&2'`;
    await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
    const args = ["--run-once", "--log-format", "text"];
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args });
    await worker.exited;
    expect(worker.stdout).toMatch(/^\/.*\/instances\/.*\/output\/stdout$/m);
    expect(worker.stderr).toMatch(/^two$/m);
  });

  test("prints straight to a terminal, so that it can use colours", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `sh -c 'readlink /proc/$$/fd/1'`;
    await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
    await using home = await makeTemporaryDirectory("lictor-home-");
    const { python } = await ensurePythonEnvironment(console.error);
    const args = ["worker", "start", "--pool", pool, "--run-once", "--python", python];
    const env = cleanEnvironment({ HOME: home.path, PREFECT_API_URL: inject("apiUrl") });
    const { code, output } = await runInTerminal(python, args, { env, cwd: home.path, dialogue: [] });
    expect(code).toBe(0);
    expect(output).toMatch(/^\/dev\/pts\/\d+\r?$/m);
  });
});
