// What is started for a flow run, by release of Prefect, command, and the project it lies in.
import { chmod, mkdir, mkdtemp, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { chooseLaunch } from "../../src/program/choose-launch.ts";
import type { PythonFinding } from "../../src/program/find-python.ts";
import { runLaunchHooks } from "../../src/program/launch-hooks.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const WANTED = "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES";
const FLOW_RUN_ID = "11111111-1111-4111-8111-111111111111";
const PROJECT = 'name = "p"\ndependencies = ["rich", "Prefect[aws] >= 3 ; python_version > \'3\'"]';

interface Case {
  prefect?: string;
  command?: string[];
  wanted?: string;
  hasUv?: boolean;
  project?: string;
}

interface Chosen {
  argv: string[];
  /** Whether the engine runs the hooks of a crash that it reports. */
  runsCrashedHooks: boolean;
}

const makeTemporary = (prefix: string): Promise<string> => mkdtemp(join(tmpdir(), prefix));

/** Chooses in a directory of its own; `<dir>`, `<uv>` and `<config>` stand for the paths in the answer. */
async function choose(given: Case): Promise<Chosen> {
  const { prefect = "3.9.1", command = null, wanted = "true", hasUv = true, project } = given;
  await using directory = await makeTemporaryDirectory("lictor-launch-");
  const bin = join(directory.path, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "uv"), "");
  if (hasUv) await chmod(join(bin, "uv"), 0o755);
  if (project !== undefined) await writeFile(join(directory.path, "pyproject.toml"), project);
  const python: PythonFinding = { kind: "found", engine: { python: "/py", prefectVersion: prefect, integrations: [] } };
  const env = { PATH: `/nowhere:${bin}`, [WANTED]: wanted };
  const request = { python, command, flowRunId: FLOW_RUN_ID, cwd: directory.path, env, makeTemporary };
  const launch = await chooseLaunch(request);
  const known: Record<string, string> = { [directory.path]: "<dir>", [join(bin, "uv")]: "<uv>" };
  const argv = launch.argv.map((word) => known[word] ?? word.replace(/^.*\/lictor-supervisor-.*\//, "<config>/"));
  // Those of a cancellation are always the worker's where it has a Python to run them in.
  expect(launch.runsHooks.cancellation).toBe(false);
  return { argv, runsCrashedHooks: launch.runsHooks.crashed };
}

const engine = (...python: string[]) => [...python, "-m", "prefect.engine"];
const supervisor = ["/py", "-m", "prefect.runner._workspace_supervisor", "<config>/supervisor.json"];
const uvRun = engine("<uv>", "run", "--no-default-groups", "--project", "<dir>", "python");
const withPrefect = `[project]\n${PROJECT}`;

describe("chooseLaunch", () => {
  const rows: [rule: string, given: Case, expected: Chosen][] = [
    ["the engine by default", { wanted: "" }, { argv: engine("/py"), runsCrashedHooks: true }],
    [
      "which in old releases leaves the hooks of a crash to the worker",
      { wanted: "0", prefect: "3.6.26" },
      { argv: engine("/py"), runsCrashedHooks: false },
    ],
    [
      "a command of its own, whatever is wanted",
      { command: ["a", "b c"], project: withPrefect },
      { argv: ["a", "b c"], runsCrashedHooks: true },
    ],
    ["the supervisor where dependencies are to be installed", {}, { argv: supervisor, runsCrashedHooks: true }],
    ["from 3.8.4 on", { prefect: "3.8.4" }, { argv: supervisor, runsCrashedHooks: true }],
    ["before, uv for a project", { prefect: "3.8.3", project: withPrefect }, { argv: uvRun, runsCrashedHooks: false }],
    ["but not without one", { prefect: "3.8.3" }, { argv: engine("/py"), runsCrashedHooks: false }],
    [
      "nor for one without Prefect",
      { prefect: "3.8.3", project: '[project]\nname = "p"\ndependencies = ["prefect-aws", "x-prefect"]' },
      { argv: engine("/py"), runsCrashedHooks: false },
    ],
    [
      "nor for one without dependencies",
      { prefect: "3.8.3", project: '[tool.x]\nprefect = "1"' },
      { argv: engine("/py"), runsCrashedHooks: false },
    ],
    [
      "nor for one that is not TOML",
      { prefect: "3.8.3", project: "[project" },
      { argv: engine("/py"), runsCrashedHooks: false },
    ],
    [
      "the engine without a uv that can be executed",
      { hasUv: false, project: withPrefect },
      { argv: engine("/py"), runsCrashedHooks: true },
    ],
    ["and where the wish is no word for true", { wanted: "perhaps" }, { argv: engine("/py"), runsCrashedHooks: true }],
  ];
  test.each(rows)("%s", async (_rule, given, expected) => {
    expect(await choose(given)).toEqual(expected);
  });

  test("tells the supervisor what to run and where, for the user's eyes only, and removes that afterwards", async () => {
    await using directory = await makeTemporaryDirectory("lictor-launch-");
    const uv = join(directory.path, "uv");
    await writeFile(uv, "", { mode: 0o755 });
    const python: PythonFinding = {
      kind: "found",
      engine: { python: "/py", prefectVersion: "3.9.1", integrations: [] },
    };
    const env = { PATH: directory.path, [WANTED]: "yes" };
    const request = { python, command: null, flowRunId: FLOW_RUN_ID, cwd: "/work space", env, makeTemporary };
    const launch = await chooseLaunch(request);
    const config = launch.argv.at(-1) ?? "";
    expect((await stat(config)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(config, "utf8"))).toEqual({
      flow_run_id: FLOW_RUN_ID,
      workspace_root: "/work space",
      manifest_path: join(dirname(config), "workspace.json"),
      command: null,
    });
    expect(launch.supervisorDirectory).toBe(dirname(config));
  });

  test.each([
    [["prefect", "flow-run", "execute"], true],
    [["uv", "run", "prefect", "flow-run", "execute", "id"], true],
    [["sh", "-c", "cd /app && exec prefect flow-run execute"], true],
    [["python", "-m", "prefect.engine"], false],
    [["flow-run"], false],
  ])("leaves a cancellation to %j: %s", async (command, expected) => {
    const python: PythonFinding = { kind: "missing", message: "none", isSlow: false };
    const request = { python, command, flowRunId: FLOW_RUN_ID, cwd: "/", env: {}, makeTemporary };
    const launch = await chooseLaunch(request);
    expect(launch.cancelsItself).toBe(expected);
    expect(launch.runsHooks).toEqual({ cancellation: true, crashed: true });
  });

  test.each([
    [["python", "-m", "prefect.engine"], true],
    [["/opt/py/bin/python3.12", "-m", "prefect.engine"], true],
    [["uv", "run", "/opt/bin/prefect", "flow-run", "execute", "id"], true],
    [["sh", "run.sh"], false],
    [["sh", "-c", "prepare && python -m prefect.engine"], false],
    [["python", "-m", "my_flows"], false],
    [["make", "flow"], false],
    [["sleep", "1"], false],
  ])("expects that %j reports Running before it begins: %s", async (command, expected) => {
    const python: PythonFinding = { kind: "missing", message: "none", isSlow: false };
    const request = { python, command, flowRunId: FLOW_RUN_ID, cwd: "/", env: {}, makeTemporary };
    expect((await chooseLaunch(request)).reportsRunning).toBe(expected);
  });

  test("has no hooks for a command that is no engine", async () => {
    const python: PythonFinding = {
      kind: "found",
      engine: { python: "/no/such/python", prefectVersion: "3.9.1", integrations: [] },
    };
    const request = { python, command: ["sleep", "1"], flowRunId: FLOW_RUN_ID, cwd: "/", env: {}, makeTemporary };
    const launch = await chooseLaunch(request);
    expect(launch.startsEngine).toBe(false);
    const never = new AbortController().signal;
    const call = { kind: "crashed", flowRun: { id: FLOW_RUN_ID }, state: { type: "CRASHED" } } as const;
    await runLaunchHooks(launch, {
      ...call,
      cwd: "/",
      env: {},
      output: "ignore",
      end: never,
      leave: never,
      serverIsKnown: true,
    });
  });

  test("needs a Python for all but a command of its own", async () => {
    const python: PythonFinding = { kind: "missing", message: "No Python with Prefect", isSlow: false };
    const request = { python, flowRunId: FLOW_RUN_ID, cwd: "/", env: {}, makeTemporary };
    await expect(chooseLaunch({ ...request, command: null })).rejects.toThrow("No Python with Prefect");
    const launch = await chooseLaunch({ ...request, command: ["true"] });
    expect(launch.argv).toEqual(["true"]);
  });
});
