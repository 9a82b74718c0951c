// `lictor worker status` and `lictor worker drain`, which talk to running workers over their control sockets.
import { readdir, stat } from "node:fs/promises";
import http from "node:http";
import { hostname } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { expect, inject, test } from "vitest";
import { listenOnControlSocket } from "../../src/host/control-connection.ts";
import { createInstance } from "../../src/host/instances.ts";
import { LICTOR, type RunningProgram, runLictor } from "../support/lictor.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const stateOf = (worker: RunningProgram): string => join(worker.home, ".prefect", "lictor");

/** Runs `lictor worker …` as the user whose worker that is. */
function control(worker: RunningProgram, ...args: string[]) {
  return runLictor(["worker", ...args], { env: { LICTOR_STATE_DIR: stateOf(worker) } });
}

/** A worker with one flow run that runs for so many seconds. */
async function startBusyWorker(seconds: number, env: Record<string, string> = {}) {
  const api = sharedApi();
  const pool = await newPool(api);
  const worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env });
  const flowRun = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds } });
  await worker.waitForOutput(/^ready$/m, 60_000);
  return { api, pool, worker, flowRun, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

test.concurrent("status shows the worker and its flow runs, drain --wait returns when they have ended", async () => {
  await using busy = await startBusyWorker(8);
  const { worker, pool, flowRun } = busy;
  const shown = await control(worker, "status");
  expect(shown).toMatchObject({ code: 0, stderr: "" });
  expect(shown.stdout).toMatch(/^PID +WORKER +POOL +TYPE +PHASE +UP +RUNS +CLAIMED$/m);
  expect(shown.stdout).toMatch(new RegExp(`^${worker.pid} +test-worker +${pool} +process +running .* 1 +1$`, "m"));
  expect(shown.stdout).toMatch(new RegExp(`^ +${flowRun.name} +${pool} .*process \\d+$`, "m"));

  const [status] = JSON.parse((await control(worker, "status", "--json")).stdout);
  expect(status).toMatchObject({
    host: { pid: worker.pid, phase: "running", slots: { used: 1, limit: null } },
    workers: [{ workPool: pool, inFlight: [{ id: flowRun.id, phase: "running", identifier: expect.any(String) }] }],
  });

  const drained = await control(worker, "drain", "--wait");
  expect(drained).toMatchObject({ code: 0, stderr: "" });
  expect(drained.stdout).toContain("takes no new flow runs, waits for 1 flow run.\nIt has ended.\n");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect((await busy.api.readFlowRun(flowRun.id)).state_type).toBe("COMPLETED");
  expect((await control(worker, "status")).stdout).toBe("No worker runs here.\n");
  expect(await readdir(join(stateOf(worker), "instances"))).toEqual([]);
});

test.concurrent("only the user of a worker may open its control socket, also where the path is longer than sockets allow", async () => {
  await using temporary = await makeTemporaryDirectory("lictor-state-");
  const deep = join(temporary.path, "d".repeat(120));
  await using busy = await startBusyWorker(60, { LICTOR_STATE_DIR: deep });
  const [instance = ""] = await readdir(join(deep, "instances"));
  const directory = join(deep, "instances", instance);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
  expect((await stat(join(directory, "control.sock"))).mode & 0o777).toBe(0o600);
  const shown = await runLictor(["worker", "status"], { env: { LICTOR_STATE_DIR: deep } });
  expect(shown.stdout).toContain(busy.pool);
});

test.concurrent("drain --pool leaves the workers of other pools alone, and says when there is none", async () => {
  await using busy = await startBusyWorker(60);
  const none = await control(busy.worker, "drain", "--pool", "another");
  expect(none.code).toBe(1);
  expect(none.stderr).toBe(`No worker of work pool 'another' runs here (looked in ${stateOf(busy.worker)}).\n`);
  expect((await control(busy.worker, "drain", "--pool", busy.pool)).code).toBe(0);
  await busy.worker.waitForOutput(/Told over the control socket to drain/, 20_000);
});

test.concurrent("a worker that was killed is not shown, and the next one removes what it left", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
  worker.signal("SIGKILL");
  await worker.exited;
  const instances = join(stateOf(worker), "instances");
  const left = await readdir(instances);
  expect(left).toHaveLength(1);
  expect((await control(worker, "status")).stdout).toBe("No worker runs here.\n");
  await using next = await startWorker(pool, { apiUrl: inject("apiUrl"), env: { LICTOR_STATE_DIR: stateOf(worker) } });
  const only = new RegExp(`^${hostname()}-${next.pid}-[0-9a-f]{8}$`);
  await waitFor(async () => only.test((await readdir(instances)).join()), { timeoutMs: 10_000, what: "the removal" });
});

test.concurrent("POST /kill ends the flow runs and says so in their state", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
  const command = programCommand("ignore-sigterm.mjs");
  const flowRun = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
  await worker.waitForOutput(/^ready$/m, 60_000);
  const [instance = ""] = await readdir(join(stateOf(worker), "instances"));
  const socketPath = join(stateOf(worker), "instances", instance, "control.sock");
  await new Promise<void>((resolve, reject) => {
    http
      .request({ socketPath, method: "POST", path: "/kill" }, (response) => resolve(void response.resume()))
      .on("error", reject)
      .end();
  });
  const { flowRun: ended } = await api.waitForState(flowRun.id, ["CRASHED"], 60_000);
  expect(ended.state?.message).toBe(
    "Worker 'test-worker' was told over its control socket to kill and ended the flow run's process.",
  );
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test.concurrent("a state directory that cannot be written costs one warning", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const file = join("/dev/null", "state");
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env: { LICTOR_STATE_DIR: file } });
  await worker.waitForOutput(/No control socket in \/dev\/null\/state \(ENOTDIR\)/, 20_000);
  const flowRun = await api.createFlowRun(await deploy(api, pool, "hello"));
  await api.waitForState(flowRun.id, ["COMPLETED"], 60_000);
});

test.concurrent("a worker that hangs is one line of status and drain, which do their work for the others", async () => {
  const api = sharedApi();
  const pools = [await newPool(api), await newPool(api)] as const;
  await using hanging = await startWorker(pools[0], { apiUrl: inject("apiUrl") });
  const env = { LICTOR_STATE_DIR: stateOf(hanging) };
  await using other = await startWorker(pools[1], { apiUrl: inject("apiUrl"), env });
  hanging.signal("SIGSTOP");
  const line = new RegExp(`^The worker with pid ${hanging.pid} does not respond .*\\(no response within 5 s\\).*\n$`);
  const shown = await control(hanging, "status");
  expect(shown).toMatchObject({ code: 1, stderr: expect.stringMatching(line) });
  expect(shown.stdout).toMatch(new RegExp(`^${other.pid} +test-worker +${pools[1]} `, "m"));
  expect(shown.stdout).not.toContain(pools[0]);

  // A start waits for no other worker.
  await using third = await startWorker(pools[1], { apiUrl: inject("apiUrl"), env });
  const drained = await control(hanging, "drain", "--wait");
  expect(drained).toMatchObject({ code: 1, stderr: expect.stringMatching(line) });
  expect(drained.stdout).toMatch(/All have ended\.\n$/);
  expect([await other.exited, await third.exited]).toEqual(Array(2).fill({ code: 0, signal: null }));
  hanging.signal("SIGCONT");
  expect((await control(hanging, "drain", "--wait")).code).toBe(0);
});

/** A program with a control socket that answers `GET /status` like a worker, and then `onDrain` to a drain. */
async function startControlled(stateDir: string, name: string, onDrain: number | "has ended") {
  const instance = await createInstance(stateDir);
  const status = {
    host: { pid: process.pid, startedAt: 0, now: 0, phase: "running" },
    workers: [{ name, workPool: "p", inFlight: [] }],
  };
  const server = http.createServer((request, response) => {
    if (request.method === "POST") response.writeHead(Number(onDrain));
    response.end(JSON.stringify(status));
    if (onDrain === "has ended") server.close();
  });
  await listenOnControlSocket(server, instance.directory, pino({ level: "silent" }));
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      await instance[Symbol.asyncDispose]();
    },
  };
}

test.concurrent("drain goes on if a worker ends meanwhile, and fails if one does not accept the request", async () => {
  await using temporary = await makeTemporaryDirectory("lictor-state-");
  const env = { LICTOR_STATE_DIR: temporary.path };
  await using _accepting = await startControlled(temporary.path, "accepting", 202);
  await using _ended = await startControlled(temporary.path, "ended", "has ended");
  const drained = await runLictor(["worker", "drain"], { env });
  expect(drained).toMatchObject({ code: 0, stderr: "" });
  expect(drained.stdout).toContain(`Worker 'accepting' (pid ${process.pid}, p): takes no new flow runs`);
  expect(drained.stdout).toContain(`Worker 'ended' (pid ${process.pid}, p): has ended.`);

  await using _refusing = await startControlled(temporary.path, "refusing", 500);
  const refused = await runLictor(["worker", "drain"], { env });
  expect(refused.code).toBe(1);
  expect(refused.stdout).not.toContain("refusing");
  expect(refused.stderr).toMatch(/^The worker with pid \d+ does not respond .*\(responded with 500\)/);
});

/** Only root can give a process a host name of its own. */
const ON_ANOTHER_HOST = ["unshare", "--uts", "sh", "-c", 'hostname other.host && exec "$@"', "sh", ...LICTOR] as const;
const needsRoot = process.getuid?.() !== 0;

test.skipIf(needsRoot)("a worker leaves the workers of other hosts alone that share its state directory", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  // A host cannot tell the socket of a worker on another host from the socket of a dead worker.
  await using other = await startWorker(pool, { apiUrl: inject("apiUrl"), command: [...ON_ANOTHER_HOST] });
  other.signal("SIGKILL");
  await other.exited;
  const instances = join(stateOf(other), "instances");
  const left = await readdir(instances);
  expect(left).toHaveLength(1);
  expect((await control(other, "status")).stdout).toBe("No worker runs here.\n");
  await using next = await startWorker(pool, { apiUrl: inject("apiUrl"), env: { LICTOR_STATE_DIR: stateOf(other) } });
  expect((await control(other, "drain", "--wait")).code).toBe(0);
  expect(await next.exited).toEqual({ code: 0, signal: null });
  expect(await readdir(instances)).toEqual(left);
});

test.concurrent("a state directory below /proc costs one warning", async () => {
  const pool = await newPool(sharedApi());
  const env = { LICTOR_STATE_DIR: "/proc/lictor" };
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env });
  await worker.waitForOutput(/No control socket in \/proc\/lictor \(ENOENT\)/, 20_000);
});
