// The same with Podman, which speaks Docker's API in its own way.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runDoctor } from "../doctor/run-doctor.ts";
import { BUSYBOX } from "../support/engine-images.ts";
import type { DockerEngine } from "../support/engine-program.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { startPodman, whyNoPodman } from "../support/podman-engine.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  containerEvents,
  containersOf,
  type DockerPool,
  endOf,
  eventsOf,
  logsOf,
  makeGate,
  newDockerPool,
  runFlow,
  runShell,
  SHELL_TIMEOUT_MS,
  startDockerWorker,
  WAITING,
  waitForContainer,
} from "./docker-pool.ts";

const missing = await whyNoPodman();
if (missing) console.log(`Tests with Podman are skipped: ${missing}.`);

describe.skipIf(missing)("with Podman", { timeout: 300_000 }, () => {
  let engine: DockerEngine;
  let pool: DockerPool;
  let worker: RunningProgram;

  beforeAll(async () => {
    engine = await startPodman();
    pool = await newDockerPool(engine);
    worker = await startDockerWorker(pool);
  });

  afterAll(async () => {
    await worker?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  test("the doctor names it, and finds no fault", async () => {
    const env = { PREFECT_API_URL: pool.apiUrl, DOCKER_HOST: engine.host };
    const diagnosis = await runDoctor(env, ["--pool", pool.name]);
    expect(diagnosis.find("Docker engine")).toMatchObject({
      status: "pass",
      message: expect.stringMatching(/: Podman \d+\.\d+\.\d+, API 1\.\d+$/),
    });
    expect(diagnosis.named("fail")).toEqual([]);
  });

  test("a flow run is completed by its engine", async () => {
    const id = await runFlow(pool, "hello");
    const { states } = await endOf(pool, id, "COMPLETED");
    expect(states).toEqual(["Scheduled", "Pending", "Submitting", "Running", "Completed"]);
    await worker.waitForOutput(/Hello, world!/, 10_000);
  });

  test("an exit code is in the state, and lines of any length and events arrive", async () => {
    const id = await runShell(pool, "echo first; printf %040000d 7; echo; sleep 1; echo last words >&2; exit 7");
    const { message, flowRun } = await endOf(pool, id, "CRASHED");
    expect(message).toBe(
      "Flow run infrastructure exited with non-zero status code 7. Process exited with an unexpected status code.",
    );
    const [container] = await containersOf(pool, id);
    expect(flowRun.infrastructure_pid).toBe(`http+docker://localhost:${container?.Id}`);
    await worker.waitForOutput(/^0{39999}7$/m, 10_000);
    const logs = await logsOf(pool, id, /last lines/);
    expect(logs.find((text) => text.includes("last lines"))).toMatch(/:\nfirst\n0{39999}7\nlast words$/);
    const events = await eventsOf(pool, id, "prefect.worker.executed-flow-run");
    expect(events.map(({ event }) => event)).toEqual(containerEvents);
  });

  test("a container that takes too much memory ends, and is named as such if Podman says so", async () => {
    const id = await runShell(pool, "tail /dev/zero", { mem_limit: "16m", memswap_limit: "16m" });
    const { message } = await endOf(pool, id, "CRASHED");
    const [container] = await containersOf(pool, id);
    const { body } = await engine.request<{ State: { OOMKilled: boolean } }>(
      "GET",
      `/containers/${container?.Id}/json`,
    );
    // Podman 4.3 of Debian looks for this news in another directory than the one in which its monitor leaves it.
    expect(message).toMatch(/^Flow run infrastructure exited with non-zero status code 137\. /);
    expect(message?.endsWith("its limit of 16 MiB (OOMKilled).")).toBe(body.State.OOMKilled);
  });

  test.each([
    [
      "an image",
      { image: "localhost/nothing:1", image_pull_policy: "Never" },
      /Container could not be created: .*localhost\/nothing:1/i,
    ],
    [
      "a registry",
      { image: "localhost:1/nothing:1" },
      /ImageError: Image 'localhost:1\/nothing:1' could not be pulled: .*connect/,
    ],
    ["a network", { networks: ["nope"] }, /Container could not be created: .*nope.*network not found/],
    [
      "a second network",
      { networks: ["podman", "nope"] },
      /Container could not be connected to network 'nope': .*network not found/,
    ],
    ["a command", { command: "nope" }, /Container could not be started: .*executable file .*not found/],
  ])("%s that is missing is named in the state, and nothing is left", async (_, jobVariables, expected) => {
    const id = await runShell(pool, "true", jobVariables);
    const { message } = await endOf(pool, id, "CRASHED");
    expect(message).toMatch(/^Failed to submit flow run to infrastructure: /);
    expect(message).toMatch(expected);
    expect(await containersOf(pool, id)).toEqual([]);
  });

  test("a taken name gets a number", async () => {
    await using gate = await makeGate();
    const ids = [];
    for (let number = 0; number < 3; number++) {
      ids.push(await runShell(pool, `${gate.wait}; exit 3`, { name: "The same/name", ...gate.variables }));
      await waitForContainer(pool, ids.at(-1) ?? "");
    }
    await gate.open();
    for (const id of ids) await endOf(pool, id, "CRASHED");
    const names = await Promise.all(ids.map(async (id) => (await containersOf(pool, id))[0]?.Names[0]));
    expect(names).toEqual(["/The-same-name", "/The-same-name-1", "/The-same-name-2"]);
  });

  test("a container that is removed at its end still says its exit code", async () => {
    const id = await runShell(pool, "echo gone; sleep 1; exit 5", { auto_remove: true });
    expect((await endOf(pool, id, "CRASHED")).message).toContain("status code 5");
    const isGone = async () => (await containersOf(pool, id)).length === 0;
    await waitFor(isGone, { timeoutMs: 10_000, what: "no container" });
  });

  test("a container that runs forever is stopped when its flow run is cancelled", async () => {
    const id = await runShell(pool, "trap 'exit 0' TERM; while true; do sleep 0.1; done");
    await waitForContainer(pool, id);
    await pool.api.setState(id, "CANCELLING");
    expect((await endOf(pool, id, "CANCELLED")).message).toBe("Flow run was cancelled successfully.");
    await waitForContainer(pool, id, "exited");
  });

  test("a service that is killed and comes back is no verdict, and neither is the death of the worker", async () => {
    const own = await newDockerPool(engine);
    await using first = await startDockerWorker(own, { name: "w" });
    await using gate = await makeGate();
    const id = await runShell(own, `${gate.wait}; echo after; exit 4`, gate.variables);
    await first.waitForOutput(new RegExp(WAITING), SHELL_TIMEOUT_MS);
    await using outage = await engine.stopped("SIGKILL");
    await first.waitForOutput(/Cannot reach the Docker engine/, 20_000);
    await outage.end();
    await first.waitForOutput(/The Docker engine answers again/, 60_000);
    first.signal("SIGKILL");
    await first.exited;
    await using next = await startDockerWorker(own, { name: "w" });
    await next.waitForOutput(new RegExp(WAITING), SHELL_TIMEOUT_MS);
    await gate.open();
    const { message, states } = await endOf(own, id, "CRASHED");
    expect(message).toContain("status code 4");
    expect(states.filter((name) => name === "Pending")).toHaveLength(1);
    await next.waitForOutput(/after/, 10_000);
  });

  test("own containers are removed when they have ended, and foreign ones never", async () => {
    const own = await newDockerPool(engine);
    const foreign = await engine.request<{ Id: string }>("POST", "/containers/create", {
      Image: BUSYBOX,
      Cmd: ["true"],
    });
    await engine.request("POST", `/containers/${foreign.body.Id}/start`);
    await using _worker = await startDockerWorker(own, { env: { LICTOR_DOCKER_KEEP_HOURS: "0" } });
    const id = await runShell(own, "exit 6");
    expect((await endOf(own, id, "CRASHED")).message).toContain("status code 6");
    const isGone = async () => (await containersOf(own, id)).length === 0;
    await waitFor(isGone, { timeoutMs: 30_000, what: "no own container" });
    expect((await engine.request("GET", `/containers/${foreign.body.Id}/json`)).status).toBe(200);
  });
});
