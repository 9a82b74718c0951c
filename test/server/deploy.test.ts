// `lictor deploy` and `lictor run`, judged by what the server has afterwards.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { runLictor, startLictor } from "../support/lictor.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { claimedStates, patientEnv as env, newPool, sharedApi } from "./deployments.ts";

const newName = (): string => `deploy-${randomUUID().slice(0, 8)}`;

interface DeploymentRecord {
  id: string;
  schedules: { schedule: JsonObject; active: boolean }[];
  [field: string]: unknown;
}

async function readDeployment(name: string): Promise<DeploymentRecord> {
  return await sharedApi().request<DeploymentRecord>("GET", `/deployments/name/${name}/${name}`);
}

describe("lictor deploy", { timeout: 120_000 }, () => {
  test("creates a deployment, and changes it the next time", async () => {
    const name = newName();
    const pool = await newPool(sharedApi());
    const args = ["deploy", name, "--pool", pool, "--param", "n:int=3", "--tag", "a", "--schedule", "@daily"];
    const first = await runLictor([...args, "--schedule", "3600", "--", "echo", "{{", "parameters.n", "}}"], { env });
    expect(first).toMatchObject({ code: 0, stderr: "" });
    const created = await readDeployment(name);
    expect(first.stdout).toBe(`Deployment '${name}/${name}' successfully created with id '${created.id}'.\n`);
    expect(created).toMatchObject({
      work_pool_name: pool,
      tags: ["a"],
      parameters: { n: 3 },
      job_variables: { reporter: "worker", program: ["echo", "{{ parameters.n }}"] },
    });
    expect(created.schedules).toHaveLength(2);
    const second = await runLictor([...args, "--retries", "2", "--", "true"], { env });
    expect(second.stdout).toBe(`Deployment '${name}/${name}' successfully updated with id '${created.id}'.\n`);
    const updated = await readDeployment(name);
    expect(updated).toMatchObject({ id: created.id, job_variables: { program: ["true"], retries: 2 } });
    expect(updated.schedules.map(({ schedule }) => schedule)).toMatchObject([{ cron: "@daily", timezone: "UTC" }]);
  });

  test("makes flow runs by a schedule, which the next time replaces or removes", async () => {
    const name = newName();
    const api = sharedApi();
    const pool = await newPool(api);
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const deploy = async (...options: string[]) =>
      await runLictor(["deploy", name, "--pool", pool, "--working-dir", "/", ...options, "--", "true"], { env });
    expect(await deploy("--schedule", "8")).toMatchObject({ code: 0, stderr: "" });
    const { id } = await readDeployment(name);
    const countRuns = async (type: string): Promise<number> => {
      const body = { deployments: { id: { any_: [id] } }, flow_runs: { state: { type: { any_: [type] } } } };
      return await api.request<number>("POST", "/flow_runs/count", body);
    };
    await waitFor(async () => (await countRuns("COMPLETED")) >= 1, { timeoutMs: 60_000, what: "a flow run" });
    // The same again changes nothing.
    await deploy("--schedule", "8");
    expect((await readDeployment(name)).schedules).toMatchObject([{ schedule: { interval: 8 }, active: true }]);
    await deploy();
    expect((await readDeployment(name)).schedules).toEqual([]);
    await waitFor(async () => (await countRuns("SCHEDULED")) === 0, {
      timeoutMs: 30_000,
      what: "the flow runs of the schedule to be gone",
    });
  });

  test("deploys all of a file, or nothing if the file is wrong", async () => {
    const [one, two] = [newName(), newName()];
    const pool = await newPool(sharedApi());
    await using directory = await makeTemporaryDirectory("lictor-toml-");
    const file = join(directory.path, "lictor.toml");
    const table = (name: string, rest: string) => `[deployments.${name}]\npool = "${pool}"\n${rest}\n`;
    await writeFile(file, table(one, 'command = "true"') + table(two, ""));
    const wrong = await runLictor(["deploy", "--from", file], { env });
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringMatching(/^Nothing to run for '.*'\. .*\n$/) });
    await expect(readDeployment(one)).rejects.toThrow(/404/);
    // What only the server knows is asked before the first one is deployed, too.
    const missing = '[deployments.other]\npool = "no-such-pool"\ncommand = "true"\n';
    await writeFile(file, table(one, 'command = "true"') + missing);
    const lost = await runLictor(["deploy", "--from", file], { env });
    expect(lost).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Work pool 'no-such-pool' not found\. .*\n$/),
    });
    await expect(readDeployment(one)).rejects.toThrow(/404/);
    await writeFile(file, table(one, 'command = "true"') + table(two, 'command = ["sleep", "1"]\ntimeout = 5'));
    expect(await runLictor(["deploy", "--from", file], { env })).toMatchObject({ code: 0 });
    expect(await readDeployment(one)).toMatchObject({ job_variables: { program: ["true"] } });
    expect(await readDeployment(two)).toMatchObject({ job_variables: { program: ["sleep", "1"], timeout_seconds: 5 } });
  });

  test.each([
    [["x", "--pool", "no-such-pool", "--", "ls"], /^Work pool 'no-such-pool' not found\. .*\n$/],
    [["x", "--", "ls"], /^Name the work pool: --pool POOL\.\n$/],
    [["--pool", "p"], /^Name the deployment, or use --from lictor\.toml\.\n$/],
    [["--from", "/no/such/file"], /^Cannot read \/no\/such\/file \(ENOENT\)\.\n$/],
    [["x", "--from", "f"], /^--from deploys what the file says\. Remove the name and the other options\.\n$/],
    [["--tag", "a", "--from", "f"], /^--from deploys what the file says\./],
    [
      ["x", "--pool", "a/b", "--", "ls"],
      /^error: option '-p, --pool <pool>' argument 'a\/b' is invalid\. Expected the name/,
    ],
    [["x", "--pool", "p", "--retries", "1.5", "--", "ls"], /whole number from 0 to 100000000/],
    [["x", "--pool", "p", "--retry-delay", "1e300", "--", "ls"], /Expected a number from 0 to 100000000\./],
    [["x", "--pool", "p", "--", ""], /^Nothing to run for 'x'\. .*\n$/],
    [["x", "--pool", "p", "--entrypoint", "a.ts:a", "--", "ls"], /^'x' has both a command and an entrypoint\. .*\n$/],
  ])("refuses %j in one line", async (args, message) => {
    const { code, stderr, stdout } = await runLictor(["deploy", ...args], { env });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });

  test("refuses an image for processes, and variables that are no object", async () => {
    const pool = await newPool(sharedApi());
    const deploy = async (...options: string[]) =>
      await runLictor(["deploy", newName(), "--pool", pool, ...options, "--", "true"], { env });
    expect(await deploy("--image", "alpine")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Work pool '.*' runs processes, which have no image\. .*\n$/),
    });
    expect(await deploy("--job-variable", "env=1")).toMatchObject({
      code: 1,
      stderr: 'The job variable env must be an object, such as {"NAME": "value"}.\n',
    });
  });

  test("says in one line what the server refuses", async () => {
    const pool = await newPool(sharedApi());
    const args = ["deploy", newName(), "--pool", pool, "--schedule", "99 99 * * *", "--", "true"];
    const { code, stderr } = await runLictor(args, { env });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^POST \/deployments\/: 422 [^{}[\]]*schedules\.0\.schedule\.[^{}[\]]*cron[^{}[\]]*\n$/i);
  });

  test("makes flow runs that fail with words about it if another worker takes them", async () => {
    needsPrefect("3.9.0", "the worker that is tried");
    const name = newName();
    const api = sharedApi();
    const pool = await newPool(api);
    await runLictor(["deploy", name, "--pool", pool, "--working-dir", "/", "--", "echo", "hello"], { env });
    const { python } = await ensurePythonEnvironment(console.error);
    await using _reference = await startLictor(["worker", "start", "--pool", pool], {
      env: { ...env, PATH: `${dirname(python)}:${process.env.PATH}` },
      command: [python, "-m", "prefect"],
    });
    const { id } = await api.createFlowRun((await readDeployment(name)).id);
    await api.waitForState(id, ["FAILED", "CRASHED"], 90_000);
    const words = `so it needs a lictor worker: lictor worker start --pool ${pool}`;
    await waitFor(async () => (await api.readLogs(id)).some(({ message }) => message.includes(words)), {
      timeoutMs: 20_000,
      what: "the words in the logs",
    });
  });
});

describe("lictor run", { timeout: 120_000 }, () => {
  test("--watch prints states and logs, and its exit code is that of the flow run", async () => {
    const name = newName();
    const pool = await newPool(sharedApi());
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const script = ["sh", "-c", 'echo "got $1"; exit "$2"', "sh", "{{ parameters.text }}", "{{ parameters.code }}"];
    const params = ["--param", "text=none", "--param", "code:int=0"];
    // The directory of the command is a temporary one.
    const place = ["--working-dir", "/"];
    await runLictor(["deploy", name, "--pool", pool, ...place, ...params, "--", ...script], { env });
    const good = await runLictor(["run", name, "-p", "text=a 'b' 1", "--watch"], { env });
    expect(good).toMatchObject({ code: 0, stderr: "" });
    expect(good.stdout).toMatch(/^Created flow run '(.*)'\.\n└── UUID: .*\nFlow run '\1' is Scheduled\.\n/);
    // Each state is shown, also those that lasted for milliseconds only.
    const states = [...good.stdout.matchAll(/^Flow run '.*' is (\w+)/gm)].map(([, state]) => state);
    expect(states).toEqual(["Scheduled", ...claimedStates(), "Running", "Completed"]);
    expect(good.stdout).toMatch(/^\d\d:\d\d:\d\d\.\d{3} \| INFO {4}\| got a 'b' 1$/m);
    expect(good.stdout).toMatch(/^Flow run '.*' is Completed\.\n$/m);
    const bad = await runLictor(["run", name, "-p", "code=3", "--watch"], { env });
    expect(bad).toMatchObject({ code: 1, stderr: "" });
    expect(bad.stdout).toMatch(/^Flow run '.*' is Failed: Process exited with status code: 3\./m);
  });

  test("keeps numbers that JavaScript would write differently", async () => {
    const name = newName();
    const api = sharedApi();
    const pool = await newPool(api);
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const given = ["--working-dir", "/", "--param", "n:int=12345678901234567891", "--param", "o:object"];
    const program = ["sh", "-c", 'echo "$PREFECT__PARAMETERS"; echo {{ parameters.n }}'];
    const deployed = await runLictor(["deploy", name, "--pool", pool, ...given, "--", ...program], { env });
    expect(deployed).toMatchObject({ code: 0, stderr: "" });
    const { code, stdout } = await runLictor(["run", name, "-p", 'o={"x":1.0}', "--watch"], { env });
    expect(code).toBe(0);
    expect(stdout).toContain('| {"n":12345678901234567891,"o":{"x":1.0}}');
    expect(stdout).toMatch(/\| 12345678901234567891$/m);
  });

  test("creates a flow run with typed parameters, and refuses wrong ones in one line", async () => {
    const name = newName();
    const api = sharedApi();
    const pool = await newPool(api);
    const params = ["--param", "text", "--param", "n:int=1", "--param", "list:array=[]"];
    await runLictor(["deploy", name, "--pool", pool, ...params, "--", "true"], { env });
    const { code, stdout } = await runLictor(["run", name, "-p", "text=12", "-p", 'list=["a"]'], { env });
    expect(code).toBe(0);
    const [, id = ""] = /UUID: (\S+)/.exec(stdout) ?? [];
    expect(await api.readFlowRun(id)).toMatchObject({ parameters: { text: "12", n: 1, list: ["a"] } });
    const refusals = [
      [["-p", "n=1.5", "-p", "text=a"], /^The value '1\.5' of parameter 'n' is no integer\.\n$/],
      [["-p", "n=x", "-p", "text=a"], /^The value 'x' of parameter 'n' is no integer\. .*\n$/],
      [["-p", "other=1"], /^The following parameters were specified but not found on the deployment: 'other'\. .*\n$/],
      [[], /^POST .*'text' is a required property.*\n$/],
      [["-p", "text"], /^'text' is no parameter\. Write name=value\.\n$/],
    ] as const;
    for (const [args, message] of refusals) {
      const refused = await runLictor(["run", name, ...args], { env });
      expect(refused).toMatchObject({ code: 1, stdout: "" });
      expect(refused.stderr).toMatch(message);
    }
    const missing = await runLictor(["run", "no-such/deployment"], { env });
    expect(missing).toMatchObject({ code: 1, stderr: "Deployment 'no-such/deployment' not found!\n" });
  });
});
