// `lictor work-pool`, `flow-run` and `worker ls`: the same as `prefect` prints, on the same server.
import { randomUUID } from "node:crypto";
import { describe, expect, inject, test } from "vitest";
import { newPool, sharedApi } from "../server/deployments.ts";
import { findFreePort } from "../support/free-port.ts";
import { runInTerminal } from "../support/in-terminal.ts";
import { runPrefectCommands } from "../support/prefect-commands.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { makeHome, type UserHome } from "./home.ts";

// Wide enough that rich cuts nothing.
const env = (): Record<string, string> => ({ PREFECT_API_URL: inject("apiUrl"), COLUMNS: "300" });

/** What both programs print for the same command lines; their exit codes must be the same. */
async function printBoth(home: UserHome, commands: readonly (readonly string[])[]): Promise<[string, string][]> {
  const theirs = await runPrefectCommands(
    inject("python"),
    commands.map((args) => home.prefect(args, env())),
  );
  const outputs: [string, string][] = [];
  for (const [index, args] of commands.entries()) {
    const { code, stdout, stderr } = await home.lictor(args, env());
    expect({ args, code, stderr }).toEqual({ args, code: theirs[index]?.code, stderr: "" });
    outputs.push([stdout, theirs[index]?.stdout ?? ""]);
  }
  return outputs;
}

const linesOf = (text: string): string[] => text.split("\n").map((line) => line.trim());

/** A work pool with a late flow run, one for later, and log records of the late one. */
async function makeWork() {
  const api = sharedApi();
  const pool = await newPool(api, { concurrency_limit: 3 });
  // A flow of its own, because other tests use the server at the same time.
  const flowName = `flow of ${pool}`;
  const deployment = await api.createDeployment({ flowName, name: "d", workPool: pool });
  // Half past an hour, so that both programs round to the same hours, however long the first one takes.
  const late = await api.createFlowRun(deployment, { scheduledTime: new Date(Date.now() - 9_000_000) });
  await api.createFlowRun(deployment, { scheduledTime: new Date(Date.now() + 9_000_000) });
  // Otherwise the server may do it between the two programs.
  const isLate = async () => (await api.readFlowRun(late.id)).state_name === "Late";
  await waitFor(isLate, { timeoutMs: 60_000, what: "the server to find the flow run late" });
  const records = Array.from({ length: 230 }, (_, index) => ({
    name: "prefect.flow_runs",
    level: [10, 20, 30, 40, 50, 25][index % 6] as number,
    message: `line ${index}`,
    timestamp: new Date(1_790_000_000_000 + index * 10).toISOString(),
    flow_run_id: late.id,
  }));
  await api.request("POST", "/logs/", records);
  return { api, pool, flowName, late };
}

test("tables and texts are those of prefect", async () => {
  await using home = await makeHome();
  const { pool, flowName, late } = await makeWork();
  const commands = [
    ["work-pool", "preview", pool, "--hours", "4"],
    ["flow-run", "ls", "--flow-name", flowName, "--state", "scheduled", "--limit", "2"],
    ["flow-run", "ls", "--state-type", "paused", "--flow-name", randomUUID()],
    ["flow-run", "logs", late.id],
    ["flow-run", "logs", late.id, "-h"],
    ["flow-run", "logs", late.id, "--tail", "--num-logs", "3"],
    ["flow-run", "logs", late.id, "-t", "-r"],
    ["flow-run", "logs", late.id, "--head", "-n", "205"],
    ["work-pool", "pause", pool],
    ["work-pool", "resume", pool],
  ];
  for (const [ours, theirs] of await printBoth(home, commands)) expect(linesOf(ours)).toEqual(linesOf(theirs));
});

test("work-pool ls has the rows of prefect", async () => {
  await using home = await makeHome();
  const { pool } = await makeWork();
  const paused = await newPool(sharedApi(), { is_paused: true });
  // Other tests create work pools meanwhile, so the width of the table differs.
  const rowsOf = (text: string) =>
    linesOf(text)
      .filter((line) => ["Name", "(**)", pool, paused].some((part) => line.includes(part)))
      .filter((line) => line.includes(pool) || line.includes(paused) || !line.includes("│"))
      .map((line) => line.replace(/\s+/g, " "));
  const commands = [
    ["work-pool", "ls"],
    ["work-pools", "ls"],
  ];
  for (const [ours, theirs] of await printBoth(home, commands)) {
    expect(rowsOf(ours)).toEqual(rowsOf(theirs));
    expect(rowsOf(ours).length).toBe(4);
  }
  const verbose = await home.lictor(["work-pool", "ls", "--verbose"], env());
  expect(verbose.stdout).toContain("Base Job Template");
});

test("JSON has all that prefect prints", async () => {
  await using home = await makeHome();
  const { pool, flowName, late } = await makeWork();
  const commands = [
    ["work-pool", "inspect", pool, "-o", "json"],
    ["work-pool", "preview", pool, "-o", "json"],
    ["flow-run", "ls", "-o", "json", "--flow-name", flowName, "--limit", "1"],
    ["flow-run", "logs", late.id, "-n", "5", "-o", "json"],
  ];
  for (const [ours, theirs] of await printBoth(home, commands)) {
    expect(JSON.parse(ours)).toMatchObject(JSON.parse(theirs, withoutClientFields));
  }
});

/** Prefect's client adds fields that are null. This time passes between the two commands. */
function withoutClientFields(key: string, value: unknown): unknown {
  return value === null || key === "estimated_start_time_delta" ? undefined : value;
}

test("what is no name of a work pool is not sent to the server", async () => {
  await using home = await makeHome();
  for (const args of [
    ["work-pool", "inspect", ""],
    ["work-pool", "pause", "a/b"],
    ["worker", "ls", "-p", "a%b"],
  ]) {
    const { code, stderr } = await home.lictor(args, env());
    expect({ args, code }).toEqual({ args, code: 1 });
    expect(stderr).toMatch(
      /^error: .* is invalid.* Expected the name of a work pool, which has none of \/ % & > <\.$/m,
    );
  }
});

test("a flow run is cancelled", async () => {
  await using home = await makeHome();
  const { api, late } = await makeWork();
  expect(await home.lictor(["flow-run", "cancel", late.id], env())).toEqual({
    code: 0,
    stdout: `Flow run '${late.id}' was successfully scheduled for cancellation.\n`,
    stderr: "",
  });
  expect((await api.readFlowRun(late.id)).state_type).toBe("CANCELLED");
});

test("what does not exist is one line, and exit code 1", async () => {
  await using home = await makeHome();
  const id = randomUUID();
  const pool = await newPool(sharedApi());
  const refusals: [string[], string][] = [
    [["work-pool", "inspect", "no-pool"], "Work pool 'no-pool' not found!\n"],
    [["work-pool", "pause", "no-pool"], "Work pool 'no-pool' not found!\n"],
    [["work-pool", "preview", "no-pool"], "Work pool 'no-pool' not found!\n"],
    [["worker", "ls", "--pool", "no-pool"], "Work pool 'no-pool' not found!\n"],
    [["worker", "inspect", "w", "--pool", pool], `Worker 'w' not found in work pool '${pool}'!\n`],
    [["flow-run", "logs", id], `Flow run '${id}' not found!\n`],
    [["flow-run", "cancel", id], `Flow run '${id}' not found!\n`],
    [
      ["flow-run", "ls", "--state-type", "done"],
      expect.stringContaining("Invalid state type. Options are SCHEDULED, "),
    ],
  ];
  for (const [args, stderr] of refusals) {
    expect(await home.lictor(args, env())).toEqual({ code: 1, stdout: "", stderr });
  }
});

test("a flow run that has ended cannot be cancelled", async () => {
  await using home = await makeHome();
  const { api, late } = await makeWork();
  await api.setState(late.id, "COMPLETED", { force: true });
  const { code, stderr } = await home.lictor(["flow-run", "cancel", late.id], env());
  expect(code).toBe(1);
  expect(stderr).toMatch(new RegExp(`^Flow run '${late.id}' was unable to be cancelled\\. Reason: '.+'\\n$`));
});

describe("worker ls and worker inspect", () => {
  test("show the workers that the server knows", async () => {
    await using home = await makeHome();
    const api = sharedApi();
    const pool = await newPool(api);
    expect((await home.lictor(["worker", "ls", "-p", pool], env())).stdout).toBe(
      `No workers found in work pool '${pool}'.\n`,
    );
    await api.request("POST", `/work_pools/${pool}/workers/heartbeat`, { name: "one", heartbeat_interval_seconds: 30 });
    const { stdout } = await home.lictor(["worker", "ls", "-p", pool], env());
    expect(stdout).toMatch(/│ one +│ ONLINE │ a few seconds ago │ [0-9a-f-]{36} │/);
    const listed = await home.lictor(["worker", "ls", "-p", pool, "-o", "json"], env());
    const inspected = await home.lictor(["worker", "inspect", "one", "-p", pool, "-o", "json"], env());
    expect(JSON.parse(listed.stdout)).toEqual([JSON.parse(inspected.stdout)]);
    expect((await home.lictor(["worker", "inspect", "one", "-p", pool], env())).stdout).toMatch(/^name: one$/m);
  });

  test("have colours on a terminal only", async () => {
    await using home = await makeHome();
    const pool = await newPool(sharedApi(), { is_paused: true });
    const options = { env: home.env(env()), cwd: home.path, dialogue: [] };
    const { output } = await runInTerminal(inject("python"), ["work-pool", "ls"], options);
    expect(output).toContain(`\u001b[32m${pool}\u001b[0m\u001b[31m (**)\u001b[0m`);
    const plain = await runInTerminal(inject("python"), ["work-pool", "ls", "--no-color"], options);
    // Where the server takes long, a line says so and is erased. That is no colour.
    expect(plain.output.replaceAll("\u001b[K", "")).not.toContain("\u001b[");
  });
});

test("on a terminal, a line says that a server takes long, and goes away", async () => {
  await using home = await makeHome();
  const csrf = { "GET /api/csrf-token": [{ status: 404, body: {}, always: true as const }] };
  await using server = await startScriptedServer({
    http: { ...csrf, "POST /api/work_pools/filter": [{ body: [], delayMs: 2_000 }] },
  });
  const options = { env: home.env({ PREFECT_API_URL: `${server.url}/api` }), cwd: home.path, dialogue: [] };
  const { output } = await runInTerminal(inject("python"), ["work-pool", "ls"], options);
  expect(output).toBe(`Waiting for ${server.url}/api …\r\u001b[KNo work pools found.\r\n`);
});

test("the error says what to do if the API cannot be reached", async () => {
  await using home = await makeHome();
  const PREFECT_API_URL = `http://127.0.0.1:${await findFreePort()}/api`;
  const { code, stdout, stderr } = await home.lictor(["work-pool", "ls"], { PREFECT_API_URL });
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(
    /^\S+: connect ECONNREFUSED \S+\. Nothing listens on this port: .*PREFECT_API_URL\. `lictor doctor` tries each step\.\n$/,
  );
});
