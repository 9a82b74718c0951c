// PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES: the engine runs in the project's own environment, which uv makes for it.
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { beforeEach, describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { runCommand } from "../support/run-command.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory, type TemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { newPool, sharedApi } from "./deployments.ts";

/** With an empty uv cache, a hundred packages are downloaded. */
const INSTALL_TIMEOUT_MS = 150_000;
const DEPENDENCY = "iniconfig";

/** A directory with the flow and a pyproject.toml that asks for it and for the test environment's Prefect. */
async function makeProject(): Promise<TemporaryDirectory> {
  const directory = await makeTemporaryDirectory("lictor-project-");
  const versions = "import importlib.metadata as m, sys; print(m.version('prefect'), '%d.%d' % sys.version_info[:2])";
  const [prefect, release] = (await askPython(versions)).split(" ");
  const overrides = await readFile(inCheckout("test/python/overrides.txt"), "utf8");
  const overridden = overrides.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const pyproject = [
    "[project]",
    'name = "example"',
    'version = "1"',
    `requires-python = "==${release}.*"`,
    `dependencies = ["prefect==${prefect}", "${DEPENDENCY}"]`,
    "[tool.uv]",
    "package = false",
    `override-dependencies = ${JSON.stringify(overridden)}`,
  ];
  await writeFile(join(directory.path, "pyproject.toml"), pyproject.join("\n"));
  const flow = "with_dependency.py";
  await copyFile(inCheckout(`test/fixtures/flows/${flow}`), join(directory.path, flow));
  return directory;
}

async function askPython(script: string): Promise<string> {
  const { stdout, stderr, code } = await runCommand(inject("python"), ["-c", script]);
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
}

/** What uv needs that a clean environment lacks: itself, a Python, a cache to keep, certificates and the index of pip. */
async function uvEnvironment(): Promise<Record<string, string>> {
  const { python, bin } = await ensurePythonEnvironment(console.error);
  const configured = await runCommand(python, ["-m", "pip", "config", "list"]);
  const index = /\.index-url='(.+)'/.exec(configured.stdout)?.[1];
  const inherited = Object.entries(process.env).filter(
    (entry): entry is [string, string] => /^(UV_|SSL_CERT_)/.test(entry[0]) && entry[1] !== undefined,
  );
  return {
    ...Object.fromEntries(inherited),
    ...(index === undefined ? {} : { UV_DEFAULT_INDEX: index }),
    PATH: `${bin}${delimiter}${process.env.PATH ?? ""}`,
    UV_PYTHON: python,
    UV_PYTHON_DOWNLOADS: "never",
    UV_CACHE_DIR: inCheckout(".cache/uv"),
  };
}

interface Run extends AsyncDisposable {
  id: string;
  api: ReturnType<typeof sharedApi>;
  worker: RunningProgram;
  hooks: () => Promise<string>;
}

/** A worker that is to install dependencies, and one flow run of the project. */
async function startInProject(options: {
  workerEnv?: Record<string, string>;
  jobVariables?: JsonObject;
  parameters?: JsonObject;
  /** The code is used where it is, by a pull step, and not copied. */
  inPlace?: boolean;
}): Promise<Run> {
  const { workerEnv = {}, jobVariables = {}, parameters = {}, inPlace = false } = options;
  const project = await makeProject();
  const api = sharedApi();
  const pool = await newPool(api);
  const hooksFile = join(project.path, "hooks");
  const { env = {}, ...others } = jobVariables;
  const deployment = await api.createDeployment({
    flowName: "with_dependency",
    name: "with_dependency",
    workPool: pool,
    entrypoint: "with_dependency.py:with_dependency",
    jobVariables: { ...others, env: { HOOKS_FILE: hooksFile, ...(env as JsonObject) } },
    ...(inPlace
      ? { pullSteps: [{ "prefect.deployments.steps.set_working_directory": { directory: project.path } }] }
      : { path: project.path }),
  });
  const worker = await startWorker(pool, {
    apiUrl: inject("apiUrl"),
    env: { ...(await uvEnvironment()), ...workerEnv },
  });
  const { id } = await api.createFlowRun(deployment, { name: "in-project", parameters });
  return {
    id,
    api,
    worker,
    hooks: async () => await readFile(hooksFile, "utf8").catch(() => ""),
    async [Symbol.asyncDispose]() {
      await worker[Symbol.asyncDispose]();
      await project[Symbol.asyncDispose]();
    },
  };
}

const WANTED = { PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES: "true" };

describe("a flow run of a project whose dependencies are to be installed", () => {
  beforeEach(() => needsPrefect("3.8.4", "the supervisor, which looks for the project once the code is in place"));

  test("finds a dependency that the worker's Python lacks", async () => {
    expect(await askPython(`import importlib.util as u; print(u.find_spec('${DEPENDENCY}'))`)).toBe("None");
    await using run = await startInProject({ workerEnv: WANTED });
    await run.api.waitForState(run.id, ["COMPLETED"], INSTALL_TIMEOUT_MS);
    expect(run.worker.stdout).toMatch(/^ready hello$/m);
    expect(await run.hooks()).toBe("");
  }, 200_000);

  test("runs its cancellation hook once, in the project's environment, and leaves no process", async () => {
    await using run = await startInProject({ workerEnv: WANTED, parameters: { seconds: 120 }, inPlace: true });
    await run.api.waitForState(run.id, ["RUNNING"], INSTALL_TIMEOUT_MS);
    await run.worker.waitForOutput(/^ready hello$/m, 20_000);
    await run.api.setState(run.id, "CANCELLING");
    await run.worker.waitForOutput(/Cancelled flow run '/, 60_000);
    const { flowRun, states } = await run.api.waitForState(run.id, ["CANCELLED"], 10_000);
    expect(flowRun.state?.message).toBe("Flow run was cancelled successfully.");
    expect(states.map(({ name }) => name)).not.toContain("Crashed");
    // The state is reported before the hooks are run.
    await waitFor(run.hooks, { timeoutMs: 60_000, what: "the hook's trace" });
    expect(await run.hooks()).toBe(`Cancelling in-project ${DEPENDENCY}\n`);
    await waitFor(async () => (await run.worker.descendants()).length === 0, {
      timeoutMs: 10_000,
      what: "no process left",
    });
  }, 240_000);

  test("has its crashed hook run once, in the project's environment, when its engine is killed", async () => {
    await using run = await startInProject({ workerEnv: WANTED, parameters: { is_killed: true } });
    const { flowRun } = await run.api.waitForState(run.id, ["CRASHED"], INSTALL_TIMEOUT_MS);
    // uv ends as a shell would: 128 and the signal's number.
    expect(flowRun.state?.message).toMatch(/^Process exited with status code: 137\./);
    await waitFor(run.hooks, { timeoutMs: 60_000, what: "the hook's trace" });
    run.worker.signal("SIGTERM");
    await run.worker.exited;
    expect(await run.hooks()).toBe(`Crashed in-project ${DEPENDENCY}\n`);
  }, 240_000);

  test("fails for want of the dependency where the flow run's environment says no", async () => {
    await using run = await startInProject({
      workerEnv: WANTED,
      jobVariables: { env: { PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES: "false" } },
    });
    const { flowRun } = await run.api.waitForState(run.id, ["CRASHED", "FAILED"], 60_000);
    expect(`${flowRun.state?.message}${run.worker.stderr}`).toContain(DEPENDENCY);
  });
});
