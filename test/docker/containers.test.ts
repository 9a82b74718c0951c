// Flow runs that are shell commands in containers of a real engine: what the worker says of their ends.
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { whyNoEngine } from "../support/docker-engine.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  containersOf,
  endOf,
  eventsOf,
  logsOf,
  makeGate,
  newDockerPool,
  runShell,
  SHELL_TIMEOUT_MS,
  startDockerWorker,
  useServedPool,
  waitForContainer,
} from "./docker-pool.ts";

const missing = await whyNoEngine();
if (missing) console.log(`Tests with a real Docker engine are skipped: ${missing}.`);

describe.skipIf(missing)("in a container", { timeout: 300_000 }, () => {
  const docker = useServedPool();

  test("an exit code is in the state, and the last lines are in the logs of the flow run", async () => {
    // The engine reads the two streams apart, so lines at the same moment may change places.
    const id = await runShell(docker.pool, "echo first; sleep 1; echo last words >&2; exit 7");
    const { message, flowRun } = await endOf(docker.pool, id, "CRASHED");
    expect(message).toBe(
      "Flow run infrastructure exited with non-zero status code 7. Process exited with an unexpected status code.",
    );
    const [container] = await containersOf(docker.pool, id);
    expect(flowRun.infrastructure_pid).toBe(`http+docker://localhost:${container?.Id}`);
    const logs = await logsOf(docker.pool, id, /last lines/);
    expect(logs.find((text) => text.includes("last lines"))).toMatch(/:\nfirst\nlast words$/);
    await docker.worker.waitForOutput(/^\{.*"msg":"last words"|^last words$/m, 10_000);
    const events = await eventsOf(docker.pool, id, "prefect.worker.executed-flow-run");
    expect(events.map(({ event }) => event.replace(/^prefect\./, ""))).toEqual([
      "worker.submitted-flow-run",
      "docker.container.created",
      expect.stringMatching(/^docker\.container\.(running|exited)$/),
      ...(events.length === 5 ? ["docker.container.exited"] : []),
      "worker.executed-flow-run",
    ]);
    expect(events.at(-1)?.related).toContainEqual(
      expect.objectContaining({
        "prefect.infrastructure.status-code": "7",
        "prefect.infrastructure.identifier": flowRun.infrastructure_pid,
      }),
    );
  });

  test("of a work pool that was made in the UI, whose template is another one, it is the same", async () => {
    type Metadata = Record<string, Record<string, { default_base_job_configuration: JsonObject }>>;
    const metadata = await docker.pool.api.request<Metadata>("GET", "/collections/views/aggregate-worker-metadata");
    const template = metadata["prefect-docker"]?.docker?.default_base_job_configuration;
    expect(template).toHaveProperty("job_configuration.container_wait_timeout");
    const pool = await newDockerPool(docker.engine, { base_job_template: template ?? {} });
    await using _worker = await startDockerWorker(pool);
    const id = await runShell(pool, "exit 7", { mem_limit: "64m" });
    expect((await endOf(pool, id, "CRASHED")).message).toContain("status code 7");
    const [container] = await containersOf(pool, id);
    const { body } = await docker.engine.request("GET", `/containers/${container?.Id}/json`);
    expect(body).toMatchObject({ HostConfig: { Memory: 64 * 1024 ** 2, NetworkMode: "host" } });
  });

  test("without streamed output, a failure is reported too", async () => {
    const id = await runShell(docker.pool, "echo unseen; sleep 1; exit 9", { stream_output: false });
    expect((await endOf(docker.pool, id, "CRASHED")).message).toContain("status code 9");
    await logsOf(docker.pool, id, /last lines[\s\S]*unseen/);
    expect(docker.worker.stdout).not.toMatch(/^unseen$/m);
  });

  test("a line that is longer than the engine's pieces is one line", async () => {
    const id = await runShell(docker.pool, "printf %040000d 7; echo; exit 3");
    await endOf(docker.pool, id, "CRASHED");
    await docker.worker.waitForOutput(/^0{39999}7$/m, 10_000);
  });

  test("a container that takes too much memory is named as such", async () => {
    const id = await runShell(docker.pool, "tail /dev/zero", { mem_limit: "16m", memswap_limit: "16m" });
    const { message } = await endOf(docker.pool, id, "CRASHED");
    expect(message).toMatch(
      /status code 137\. .* The container used more memory than its limit of 16 MiB \(OOMKilled\)\.$/,
    );
  });

  test.each([
    [
      "an image",
      { image: "localhost/nothing:1", image_pull_policy: "Never" },
      /Container could not be created: No such image: localhost\/nothing:1/i,
    ],
    [
      "a registry",
      { image: "localhost:1/nothing:1" },
      /ImageError: Image 'localhost:1\/nothing:1' could not be pulled: .*connect/,
    ],
    ["a network", { networks: ["nope"] }, /Container could not be started: network nope not found/],
    [
      "a second network",
      { networks: ["bridge", "nope"] },
      /Container could not be connected to network 'nope': network nope not found/,
    ],
    ["a command", { command: "nope" }, /Container could not be started: .*"nope": executable file not found/],
  ])("%s that is missing is named in the state, and nothing is left", async (_, jobVariables, expected) => {
    const id = await runShell(docker.pool, "true", jobVariables);
    const { message } = await endOf(docker.pool, id, "CRASHED");
    expect(message).toMatch(/^Failed to submit flow run to infrastructure: /);
    expect(message).toMatch(expected);
    expect(await containersOf(docker.pool, id)).toEqual([]);
  });

  test("a taken name gets a number", async () => {
    const ids = [];
    for (let number = 0; number < 3; number++) {
      ids.push(await runShell(docker.pool, "sleep 1; exit 3", { name: "The same/name" }));
      await waitForContainer(docker.pool, ids.at(-1) ?? "", "running").catch(() => undefined);
    }
    for (const id of ids) await endOf(docker.pool, id, "CRASHED");
    const names = await Promise.all(ids.map(async (id) => (await containersOf(docker.pool, id))[0]?.Names[0]));
    expect(names).toEqual(["/The-same-name", "/The-same-name-1", "/The-same-name-2"]);
  });

  test("a container joins all networks, and reaches this machine by its name", async () => {
    for (const Name of ["first", "second"]) await docker.engine.request("POST", "/networks/create", { Name });
    const id = await runShell(docker.pool, "grep host.docker.internal /etc/hosts; sleep 60", {
      networks: ["first", "second"],
    });
    const container = await waitForContainer(docker.pool, id);
    const { body } = await docker.engine.request<{
      NetworkSettings: { Networks: object };
      Config: { Env: string[] };
      HostConfig: { ExtraHosts: string[] };
    }>("GET", `/containers/${container}/json`);
    expect(Object.keys(body.NetworkSettings.Networks).sort()).toEqual(["first", "second"]);
    expect(body.Config.Env).toContainEqual(expect.stringMatching(/^PREFECT_API_URL=http:\/\/host\.docker\.internal:/));
    expect(body.HostConfig.ExtraHosts).toEqual(["host.docker.internal:host-gateway"]);
    await docker.engine.request("POST", `/containers/${container}/kill`);
    expect((await endOf(docker.pool, id, "CRASHED")).message).toContain("status code 137");
  });

  test("a container that is removed at its end still says its exit code", async () => {
    const id = await runShell(docker.pool, "echo gone; sleep 1; exit 5", { auto_remove: true });
    expect((await endOf(docker.pool, id, "CRASHED")).message).toContain("status code 5");
    await waitFor(async () => (await containersOf(docker.pool, id)).length === 0, {
      timeoutMs: 10_000,
      what: "no container",
    });
  });

  test("a container that runs forever is stopped when its flow run is cancelled", async () => {
    const id = await runShell(
      docker.pool,
      "trap 'echo ending; exit 0' TERM; echo ready; while true; do sleep 0.1; done",
    );
    const container = await waitForContainer(docker.pool, id);
    await docker.pool.api.setState(id, "CANCELLING");
    const { message } = await endOf(docker.pool, id, "CANCELLED");
    expect(message).toBe("Flow run was cancelled successfully.");
    expect(
      (await docker.engine.request<{ State: { Status: string } }>("GET", `/containers/${container}/json`)).body.State
        .Status,
    ).toBe("exited");
  });

  test("an engine that is killed and comes back is no verdict, also with a new flow run meanwhile", async () => {
    // A work pool and a worker of its own, so that a second attempt does not read what the first one printed.
    const pool = await newDockerPool(docker.engine);
    await using worker = await startDockerWorker(pool);
    await using gate = await makeGate();
    const id = await runShell(pool, `echo before; ${gate.wait}; echo after; exit 4`, gate.variables);
    await worker.waitForOutput(/before/, SHELL_TIMEOUT_MS);
    await using outage = await docker.engine.stopped("SIGKILL");
    await worker.waitForOutput(/Cannot reach the Docker engine/, 20_000);
    const next = await runShell(pool, "exit 6");
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect((await pool.api.readFlowRun(next)).state_type).toBe("SCHEDULED");
    await outage.end();
    await worker.waitForOutput(/The Docker engine answers again/, 60_000);
    await gate.open();
    expect((await endOf(pool, id, "CRASHED")).message).toContain("status code 4");
    expect((await endOf(pool, next, "CRASHED")).message).toContain("status code 6");
    await worker.waitForOutput(/after/, 10_000);
    expect(worker.stdout.match(/before/g)).toHaveLength(1);
  });

  test("twenty at once all end, with one container each", async () => {
    const ids: string[] = [];
    // One after the other, because a busy server with SQLite refuses some of many that come at once.
    for (let index = 0; index < 20; index += 1) ids.push(await runShell(docker.pool, `sleep 1; exit ${index + 20}`));
    for (const [index, id] of ids.entries()) {
      expect((await endOf(docker.pool, id, "CRASHED")).message).toContain(`status code ${index + 20}.`);
      expect(await containersOf(docker.pool, id)).toHaveLength(1);
    }
  }, 400_000);
});
