// What becomes of containers when their worker is killed, drained or ended twice, with and without its disk.
import { describe, expect, test } from "vitest";
import { whyNoEngine } from "../support/docker-engine.ts";
import { BUSYBOX } from "../support/engine-images.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  containersOf,
  endOf,
  makeGate,
  newDockerPool,
  runShell,
  startDockerWorker,
  useEngine,
  WAITING,
  waitForContainer,
} from "./docker-pool.ts";

const missing = await whyNoEngine();

async function kill(worker: RunningProgram): Promise<void> {
  worker.signal("SIGKILL");
  await worker.exited;
}

describe.skipIf(missing)("a container whose worker is gone", { concurrent: true, timeout: 300_000 }, () => {
  const docker = useEngine();

  test.each([
    ["with its journal", true],
    ["by its labels, without a disk", false],
  ])("goes on, and the next worker says how it ended: %s", async (_, hasDisk) => {
    const pool = await newDockerPool(docker.engine);
    await using state = await makeTemporaryDirectory("lictor-state-");
    const env: Record<string, string> = hasDisk ? { LICTOR_STATE_DIR: state.path } : {};
    await using first = await startDockerWorker(pool, { name: "w", env });
    await using gate = await makeGate();
    await using gateOfEnded = await makeGate();
    const [running, ended] = [
      await runShell(pool, `echo one; ${gate.wait}; echo two; exit 8`, gate.variables),
      await runShell(pool, `${gateOfEnded.wait}; exit 3`, gateOfEnded.variables),
    ];
    const container = await waitForContainer(pool, running);
    await waitForContainer(pool, ended);
    await first.waitForOutput(/one/, 10_000);
    await kill(first);
    await gateOfEnded.open();
    await waitForContainer(pool, ended, "exited");
    const restartedAt = performance.now();
    await using next = await startDockerWorker(pool, { name: "w", env });
    await next.waitForOutput(/Taking over flow run '.*' of worker 'w', which is gone/, 20_000);
    console.log(`restart to re-attachment: ${Math.round(performance.now() - restartedAt)} ms`);
    expect((await endOf(pool, ended, "CRASHED")).message).toContain("status code 3");
    // Without a disk, new lines only are passed on, from here on.
    await next.waitForOutput(new RegExp(WAITING), 20_000);
    await gate.open();
    const { message, states, flowRun } = await endOf(pool, running, "CRASHED");
    expect(message).toContain("status code 8");
    expect(states.filter((name) => name === "Pending")).toHaveLength(1);
    expect(flowRun.infrastructure_pid).toBe(`http+docker://localhost:${container}`);
    await next.waitForOutput(/two/, 10_000);
    expect(next.stdout).not.toMatch(/one/);
    expect(await containersOf(pool, running)).toHaveLength(1);
  });

  test("and was removed meanwhile is Crashed, because nobody knows its end", async () => {
    const pool = await newDockerPool(docker.engine);
    await using state = await makeTemporaryDirectory("lictor-state-");
    const env = { LICTOR_STATE_DIR: state.path };
    await using first = await startDockerWorker(pool, { name: "w", env });
    const id = await runShell(pool, "sleep 600");
    const container = await waitForContainer(pool, id);
    await kill(first);
    await docker.engine.request("DELETE", `/containers/${container}?force=1`);
    await using _next = await startDockerWorker(pool, { name: "w", env });
    expect((await endOf(pool, id, "CRASHED")).message).toBe(
      "The flow run's container ended and was removed while no worker watched it.",
    );
  });

  test("and that succeeded without a report is taken over once", async () => {
    const pool = await newDockerPool(docker.engine);
    await using first = await startDockerWorker(pool, { name: "w" });
    await using gate = await makeGate();
    const id = await runShell(pool, gate.wait, gate.variables);
    await waitForContainer(pool, id);
    await kill(first);
    await gate.open();
    await waitForContainer(pool, id, "exited");
    await using next = await startDockerWorker(pool, { name: "w" });
    await next.waitForOutput(/Taking over flow run/, 20_000);
    // The second look comes after 2 s.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect(next.stderr.match(/Taking over flow run/g)).toHaveLength(1);
  });

  test("can be cancelled through the next worker", async () => {
    const pool = await newDockerPool(docker.engine);
    await using first = await startDockerWorker(pool, { name: "w" });
    const id = await runShell(pool, "trap 'exit 0' TERM; while true; do sleep 0.2; done");
    await waitForContainer(pool, id);
    await kill(first);
    await pool.api.setState(id, "CANCELLING");
    await using _next = await startDockerWorker(pool, { name: "w" });
    expect((await endOf(pool, id, "CANCELLED")).message).toBe("Flow run was cancelled successfully.");
    await waitForContainer(pool, id, "exited");
  });

  test("because it was ended by a second signal goes on too", async () => {
    const pool = await newDockerPool(docker.engine);
    await using first = await startDockerWorker(pool, { name: "w" });
    await using gate = await makeGate();
    const id = await runShell(pool, `${gate.wait}; exit 2`, gate.variables);
    await waitForContainer(pool, id);
    first.signal("SIGTERM");
    await first.waitForOutput(/Waiting for 1 flow run/, 10_000);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    first.signal("SIGTERM");
    await first.exited;
    expect((await pool.api.readFlowRun(id)).state_type).toBe("PENDING");
    await waitForContainer(pool, id);
    await using _next = await startDockerWorker(pool, { name: "w" });
    await gate.open();
    expect((await endOf(pool, id, "CRASHED")).message).toContain("status code 2");
  });

  test("that was created and not started is removed, and its flow run is scheduled again", async () => {
    const pool = await newDockerPool(docker.engine);
    await using state = await makeTemporaryDirectory("lictor-state-");
    const env = { LICTOR_STATE_DIR: state.path };
    await using first = await startDockerWorker(pool, { name: "w", env });
    const id = await runShell(pool, "exit 5");
    // The worker dies as soon as the engine has created the container.
    await waitFor(async () => (await containersOf(pool, id)).length > 0, {
      timeoutMs: 30_000,
      intervalMs: 1,
      what: "it",
    });
    first.signal("SIGKILL");
    await first.exited;
    await using _next = await startDockerWorker(pool, { name: "w", env });
    const { message, states } = await endOf(pool, id, "CRASHED");
    expect(message).toContain("status code 5");
    // A kill that came late found the container at work.
    if (states.includes("Scheduled", 1)) expect(await containersOf(pool, id)).toHaveLength(1);
  });

  test("of another living worker is left alone, and so are foreign containers", async () => {
    const pool = await newDockerPool(docker.engine);
    const { body: foreign } = await docker.engine.request<{ Id: string }>("POST", "/containers/create", {
      Image: BUSYBOX,
      Cmd: ["true"],
    });
    await docker.engine.request("POST", `/containers/${foreign.Id}/start`);
    await using _first = await startDockerWorker(pool, { name: "one", env: { LICTOR_DOCKER_KEEP_HOURS: "0" } });
    await using second = await startDockerWorker(pool, { name: "two", env: { LICTOR_DOCKER_KEEP_HOURS: "0" } });
    await using gate = await makeGate();
    const ids = await Promise.all(
      Array.from({ length: 8 }, (_, index) => runShell(pool, `${gate.wait}; exit ${index + 1}`, gate.variables)),
    );
    for (const id of ids) await waitForContainer(pool, id);
    await kill(second);
    await using _third = await startDockerWorker(pool, { name: "two", env: { LICTOR_DOCKER_KEEP_HOURS: "0" } });
    await gate.open();
    for (const [index, id] of ids.entries()) {
      const { message, states } = await endOf(pool, id, "CRASHED");
      expect(message).toContain(`status code ${index + 1}.`);
      expect(states.filter((name) => name === "Pending")).toHaveLength(1);
    }
    // Own containers are not kept, and the foreign one is.
    const isEmpty = async () => (await Promise.all(ids.map((id) => containersOf(pool, id)))).flat().length === 0;
    await waitFor(isEmpty, { timeoutMs: 60_000, what: "no own container", intervalMs: 500 });
    expect((await docker.engine.request("GET", `/containers/${foreign.Id}/json`)).status).toBe(200);
  });
});
