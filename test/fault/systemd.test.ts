// A worker as a service of systemd with Type=notify. A small program stands in for systemd. `systemd-notify` is the real one
// where the machine has it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { expect, inject, test } from "vitest";
import { readSystemdRequest } from "../../src/host/systemd-variables.ts";
import { findProgram } from "../../src/process/find-program.ts";
import { inCheckout } from "../support/checkout.ts";
import { endChild } from "../support/processes.ts";
import { collectOutput } from "../support/program-output.ts";
import type { ScriptedServer } from "../support/scripted-server.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { commandFlowRun } from "./command-flow-run.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const soon = { timeoutMs: 20_000, intervalMs: 20 };
const programs = inCheckout("test/fixtures/programs");

/** What stands in for systemd, and the variables of its service. */
async function startManager(watchdogMs?: number) {
  const temporary = await makeTemporaryDirectory("lictor-systemd-");
  const socket = join(temporary.path, "notify");
  const child = spawn(inject("python"), [join(programs, "service_manager.py"), socket], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = collectOutput(child);
  await once(child, "spawn");
  await output.waitForOutput(/^listening$/m, 20_000);
  const { PATH = "" } = process.env;
  const isReal = (await findProgram("systemd-notify", { cwd: "/", env: process.env })) !== undefined;
  const env = {
    PATH: isReal ? PATH : [programs, PATH].join(delimiter),
    NOTIFY_SOCKET: socket,
    ...(watchdogMs !== undefined && { WATCHDOG_USEC: String(watchdogMs * 1000) }),
  };
  const count = (variable: string): number => output.stdout.split("\n").filter((line) => line === variable).length;
  return {
    env,
    count,
    waitForOutput: output.waitForOutput,
    messages: () => output.stdout.split("\n").filter((line) => /^(READY|STOPPING|STATUS)=/.test(line)),
    async [Symbol.asyncDispose]() {
      await endChild(child, child.pid as number, 5_000);
      await temporary[Symbol.asyncDispose]();
    },
  };
}

test("systemd hears that the worker has started, what it does, that it lives, and that it stops", async () => {
  const flowRun = commandFlowRun("sleep 8");
  await using server = await startPoolServer(flowRun);
  await using manager = await startManager(1_000);
  await using worker = await startPoolWorker(server, manager.env);
  await manager.waitForOutput(/^READY=1$/m, 20_000);
  await manager.waitForOutput(/^STATUS=1 flow run in flight$/m, 20_000);
  const pid = await pidOf(server);
  const inherited = (await readFile(`/proc/${pid}/environ`, "utf8")).split("\0");
  expect(inherited.filter((variable) => /^(NOTIFY_SOCKET|WATCHDOG_)/.test(variable))).toEqual([]);
  const beats = manager.count("WATCHDOG=1");
  await waitFor(() => manager.count("WATCHDOG=1") >= beats + 3, { ...soon, what: "signs of life" });
  worker.signal("SIGTERM");
  await manager.waitForOutput(/^STATUS=Stopping, 1 flow run in flight$/m, 20_000);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(manager.messages().filter((message) => !message.startsWith("STATUS="))).toEqual(["READY=1", "STOPPING=1"]);
  expect(worker.stderr).not.toContain("systemd");
});

/** The pid of the flow run's process, as the worker tells the server. */
async function pidOf({ requests }: ScriptedServer): Promise<number> {
  const isPid = ({ body }: { body: string }): boolean => body.includes("infrastructure_pid");
  const request = await waitFor(() => requests.find(isPid), { ...soon, what: "the pid" });
  const { infrastructure_pid: identifier } = JSON.parse(request.body) as { infrastructure_pid: string };
  return Number(/\d+$/.exec(identifier)?.[0]);
}

test("an outage of the API is told to systemd, and is no reason to restart the worker", async () => {
  await using server = await startPoolServer({
    http: { "GET /api/work_pools/p": [{ status: 500, body: {}, always: true }] },
  });
  await using manager = await startManager(1_000);
  const env = { ...manager.env, PREFECT_WORKER_HEARTBEAT_SECONDS: "1", PREFECT_CLIENT_MAX_RETRIES: "0" };
  await using _worker = await startPoolWorker(server, env, ["--type", "process"]);
  await manager.waitForOutput(/^READY=1$/m, 20_000);
  await manager.waitForOutput(/^STATUS=Waiting for the API, 0 flow runs in flight$/m, 30_000);
  const beats = manager.count("WATCHDOG=1");
  await waitFor(() => manager.count("WATCHDOG=1") >= beats + 3, { ...soon, what: "signs of life" });
});

test("a machine without systemd-notify costs one warning", async () => {
  await using server = await startPoolServer();
  await using manager = await startManager(1_000);
  await using worker = await startPoolWorker(server, { ...manager.env, PATH: "/nonexistent" });
  await worker.waitForOutput(/WARNING .*`systemd-notify` is not on PATH/, 20_000);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.stderr.match(/systemd-notify/g)).toHaveLength(1);
});

test("a socket that nobody reads costs one warning", async () => {
  await using server = await startPoolServer();
  await using manager = await startManager(400);
  const env = { ...manager.env, NOTIFY_SOCKET: "/nonexistent/notify" };
  await using worker = await startPoolWorker(server, env);
  await worker.waitForOutput(/WARNING .*systemd could not be told STATUS=/, 20_000);
  await worker.waitForOutput(/Worker 'w' started!/, 20_000);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.stderr.match(/systemd could not be told/g)).toHaveLength(1);
});

test.each<[what: string, env: Record<string, string>, expected: ReturnType<typeof readSystemdRequest>]>([
  ["without a socket", { WATCHDOG_USEC: "1000000" }, undefined],
  ["without a watchdog", { NOTIFY_SOCKET: "@s" }, { notifySocket: "@s", watchdogMs: undefined }],
  ["with a watchdog", { NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "500000" }, { notifySocket: "/s", watchdogMs: 500 }],
  [
    "with a watchdog of this process",
    { NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "500000", WATCHDOG_PID: "7" },
    { notifySocket: "/s", watchdogMs: 500 },
  ],
  [
    "with a watchdog of another process",
    { NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "500000", WATCHDOG_PID: "8" },
    { notifySocket: "/s", watchdogMs: undefined },
  ],
  [
    "with a watchdog that is no number",
    { NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "-1" },
    { notifySocket: "/s", watchdogMs: undefined },
  ],
])("reads the request of systemd %s", (_what, env, expected) => {
  expect(readSystemdRequest(env, 7)).toEqual(expected);
});
