// Flow runs of kubernetes work pools, with a real server and real engines. The cluster is in the test process, and its pods are
// processes of this machine.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunningProgram } from "../support/lictor.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { claimedStates, deploy, newPool } from "./deployments.ts";
import { missingImage } from "./fake-kubelet.ts";
import { type KubernetesPool, newKubernetesPool } from "./kubernetes-pool.ts";

/** Starting Prefect takes 3 s, and half a minute on a busy machine. */
const runTimeoutMs = 150_000;
const soon = { timeoutMs: 60_000, intervalMs: 200 };

const shell = (script: string) => ({ command: `sh -c "${script}"` });

async function eventsOf({ api }: KubernetesPool, id: string, until: string) {
  const read = async () => {
    const events = await api.readEvents({ any_resource: { id: [`prefect.flow-run.${id}`] } });
    const own = events.filter(({ event }) => /^prefect\.(kubernetes|worker)\./.test(event));
    return own.some(({ event }) => event === until) ? own : undefined;
  };
  return await waitFor(read, { ...soon, what: `the event ${until}` });
}

describe("a flow run in a Job", { timeout: 400_000 }, () => {
  let pool: KubernetesPool;
  let worker: RunningProgram;

  beforeAll(async () => {
    pool = await newKubernetesPool();
    worker = await pool.startWorker();
  }, 120_000);

  afterAll(async () => {
    await worker?.[Symbol.asyncDispose]();
    await pool?.[Symbol.asyncDispose]();
  }, 60_000);

  test.concurrent("that completes is reported by its engine alone", async () => {
    const id = await pool.run("hello");
    const { flowRun, states } = await pool.api.waitForState(id, ["COMPLETED"], runTimeoutMs);
    const names = states.map(({ name }) => name);
    const first = ["Scheduled", ...claimedStates()];
    expect(names.slice(0, first.length)).toEqual(first);
    expect(names.slice(-2)).toEqual(["Running", "Completed"]);
    expect(flowRun.infrastructure_pid).toMatch(/^default:[a-z0-9-]+$/);
    const events = await eventsOf(pool, id, "prefect.worker.executed-flow-run");
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining([
        "prefect.worker.submitted-flow-run",
        "prefect.kubernetes.pod.pending",
        "prefect.kubernetes.pod.running",
        "prefect.kubernetes.pod.succeeded",
        "prefect.worker.executed-flow-run",
      ]),
    );
    await worker.waitForOutput(/Hello, world!/, soon.timeoutMs);
  });

  test.concurrent("that fails before its engine runs is Crashed with exit code, node and last lines", async () => {
    const id = await pool.run("hello", shell("echo last words; exit 3"));
    const { flowRun } = await pool.api.waitForState(id, ["CRASHED"], runTimeoutMs);
    expect(flowRun.state?.message).toMatch(
      /^Flow run infrastructure exited with non-zero status code 3\. .* Pod '.*' on node 'node-1' ended with exit code 3 \(Error\)\.$/,
    );
    const hasLines = async () => (await pool.api.readLogs(id)).some(({ message }) => message.includes("last words"));
    await waitFor(hasLines, { ...soon, what: "the last lines" });
  });

  test.concurrent("that is out of memory says so", async () => {
    const id = await pool.run("kill_self", shell("kill -9 0"));
    const { flowRun } = await pool.api.waitForState(id, ["CRASHED"], runTimeoutMs);
    expect(flowRun.state?.message).toContain("(OOMKilled)");
  });

  test.concurrent("without an image is pending with the reason, and loses its Job when it is cancelled", async () => {
    needsPrefect("3.6.22", "a second state of the type PENDING");
    const id = await pool.run("hello", { image: missingImage });
    const read = async () => (await pool.api.readFlowRun(id)).state;
    const hasReason = async () => ((await read())?.message?.includes("not found") ? await read() : undefined);
    const state = await waitFor(hasReason, { ...soon, what: "the reason" });
    expect(state).toMatchObject({ type: "PENDING", name: "InfrastructurePending" });
    await pool.api.setState(id, "CANCELLING");
    const { flowRun } = await pool.api.waitForState(id, ["CANCELLED"], soon.timeoutMs);
    expect(flowRun.state?.message).toBe("Flow run was cancelled successfully.");
    const jobs = await pool.kubelet.jobs();
    expect(jobs.filter(({ metadata }) => metadata.labels?.["prefect.io/flow-run-id"] === id)).toEqual([]);
  });

  test.concurrent("without an image loses its Job when somebody else ends it", async () => {
    needsPrefect("3.6.22", "a second state of the type PENDING");
    const id = await pool.run("hello", { image: missingImage });
    const hasReason = async () => (await pool.api.readFlowRun(id)).state?.message?.includes("not found");
    await waitFor(hasReason, { ...soon, what: "the reason" });
    await pool.api.setState(id, "FAILED", { force: true });
    const isGone = async () =>
      !(await pool.kubelet.jobs()).some(({ metadata }) => metadata.labels?.["prefect.io/flow-run-id"] === id);
    await waitFor(isGone, { timeoutMs: 120_000, intervalMs: 500, what: "the end of the Job" });
    expect((await pool.api.readFlowRun(id)).state_type).toBe("FAILED");
  });

  test.concurrent("that is cancelled ends itself", async () => {
    const id = await pool.run("sleep", {}, { seconds: 600 });
    await pool.api.waitForState(id, ["RUNNING"], runTimeoutMs);
    await pool.api.setState(id, "CANCELLING");
    await pool.api.waitForState(id, ["CANCELLED"], runTimeoutMs);
  });
});

describe.concurrent("a worker that is killed", { timeout: 200_000 }, () => {
  test.each([
    ["on the same disk", false],
    ["without its disk", true],
  ])("is followed by one %s, which reports the end of the Job", async (_, isDiskLost) => {
    await using pool = await newKubernetesPool();
    await using state = await makeTemporaryDirectory("lictor-state-");
    await using other = await makeTemporaryDirectory("lictor-state-");
    const id = await (async () => {
      await using first = await pool.startWorker({ env: { LICTOR_STATE_DIR: state.path } });
      const created = await pool.run("hello", shell("sleep 20; exit 7"));
      const hasPid = async () => (await pool.api.readFlowRun(created)).infrastructure_pid !== null;
      await waitFor(hasPid, { ...soon, what: "the Job" });
      first.signal("SIGKILL");
      await first.exited;
      return created;
    })();
    await using second = await pool.startWorker({ env: { LICTOR_STATE_DIR: isDiskLost ? other.path : state.path } });
    await second.waitForOutput(/Taking over flow run/, soon.timeoutMs);
    const { flowRun } = await pool.api.waitForState(id, ["CRASHED"], runTimeoutMs);
    expect(flowRun.state?.message).toContain("ended with exit code 7");
    expect(await pool.kubelet.jobs()).toHaveLength(1);
  });
});

test("two workers of one work pool report each end once", { timeout: 200_000 }, async () => {
  await using pool = await newKubernetesPool();
  await using _one = await pool.startWorker({ name: "one" });
  await using _two = await pool.startWorker({ name: "two" });
  const ids = await Promise.all(["1", "2", "3", "4"].map((code) => pool.run("hello", shell(`exit ${code}`))));
  for (const [index, id] of ids.entries()) {
    const { states } = await pool.api.waitForState(id, ["CRASHED"], runTimeoutMs);
    expect(states.filter(({ type }) => type === "CRASHED")).toHaveLength(1);
    expect(states.at(-1)?.message).toContain(`exit code ${index + 1}`);
  }
  expect(await pool.kubelet.jobs()).toHaveLength(4);
});

test("one worker serves work pools of different types, with one limit", { timeout: 200_000 }, async () => {
  await using pool = await newKubernetesPool();
  const processes = await newPool(pool.api);
  await using worker = await pool.startWorker({ args: ["--pool", processes, "--limit", "1"] });
  const waits = await pool.run("hello", shell("sleep 5"));
  await waitFor(async () => (await pool.kubelet.jobs()).length === 1, { ...soon, what: "a Job" });
  const local = await pool.api.createFlowRun(await deploy(pool.api, processes, "hello"));
  const { flowRun } = await pool.api.waitForState(local.id, ["COMPLETED"], runTimeoutMs);
  // A Job holds a place until it has ended.
  const [job] = await pool.kubelet.jobs();
  expect(job?.status?.succeeded).toBe(1);
  expect(flowRun.infrastructure_pid).toMatch(/^\d+$/);
  expect((await pool.api.readFlowRun(waits)).infrastructure_pid).toMatch(/^default:/);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});
