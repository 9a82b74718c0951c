// Flow runs in real pods of a real node, with the permissions of docs/deploy/kubernetes/rbac.yaml.
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { AsyncDisposables } from "../../src/async/async-disposables.ts";
import { endOf, logsOf } from "../docker/docker-pool.ts";
import { inCheckout } from "../support/checkout.ts";
import { nodeName } from "../support/cluster-node.ts";
import { HOST_IMAGE } from "../support/engine-images.ts";
import { type RunningProgram, runLictor } from "../support/lictor.ts";
import { pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";
import { whyNoWholeCluster } from "../support/whole-cluster.ts";
import { makePlugin } from "./credential-plugin.ts";
import { type Namespace, soon } from "./namespace.ts";
import { cordon, flowTimeoutMs, openWholeNamespace, WholePool } from "./whole-pool.ts";

const missing = await whyNoWholeCluster();

describe.skipIf(missing)("a flow run in a pod of a node", { timeout: 900_000 }, () => {
  const opened = new AsyncDisposables();
  let namespace: Namespace;
  let shared: string;
  let user: JsonObject;
  let pool: WholePool;
  let worker: RunningProgram;

  beforeAll(async () => {
    const whole = await openWholeNamespace();
    opened.add(async () => await whole[Symbol.asyncDispose]());
    ({ namespace, shared } = whole);
    user = { token: await namespace.serviceAccountToken() };
    pool = await WholePool.create({ namespace, shared });
    worker = await pool.startWorker({ user });
    opened.add(async () => await worker[Symbol.asyncDispose]());
  });
  afterAll(async () => await opened[Symbol.asyncDispose]());

  /** A file that a script waits for, until its test opens the gate. */
  function makeGate(name: string) {
    const file = join(shared, name);
    return { wait: `while [ ! -e ${file} ]; do sleep 0.2; done`, open: async () => await writeFile(file, "") };
  }

  test.concurrent("that completes is reported by its engine alone", async () => {
    const id = await pool.runFlow("hello");
    const { states } = await endOf(pool, id, "COMPLETED");
    // A pod that takes long to start says so.
    const usual = states.filter((name) => name !== "InfrastructurePending");
    expect(usual).toEqual(["Scheduled", "Pending", "Submitting", "Running", "Completed"]);
    await worker.waitForOutput(/Hello, world!/, 10_000);
    const read = async () => {
      const events = await pool.api.readEvents({ any_resource: { id: [`prefect.flow-run.${id}`] } });
      const names = events.map(({ event }) => event).filter((name) => /^prefect\.(kubernetes|worker)\./.test(name));
      return names.includes("prefect.worker.executed-flow-run") && names;
    };
    // The times of a cluster are whole seconds, so the order may be another one.
    expect((await waitFor(read, { ...soon, what: "the last event" })).sort()).toEqual([
      "prefect.kubernetes.pod.pending",
      "prefect.kubernetes.pod.running",
      "prefect.kubernetes.pod.succeeded",
      "prefect.worker.executed-flow-run",
      "prefect.worker.submitted-flow-run",
    ]);
  });

  test.concurrent("that fails is Failed, and one that ends without a word is Crashed with the exit code", async () => {
    const failed = await pool.runFlow("fail");
    const dead = await pool.runFlow("exit_three");
    const wordless = await pool.runFlow("hello", {}, { command: "sh -c 'echo last words; exit 3'" });
    expect((await endOf(pool, failed, "FAILED")).message).toContain("this flow always fails");
    // The engine is a child of `prefect flow-run execute`, which reports its end.
    expect((await endOf(pool, dead, "CRASHED")).message).toMatch(/status code: 3\./);
    expect((await endOf(pool, wordless, "CRASHED")).message).toMatch(
      /status code 3\. .*on node 'node-1' ended with exit code 3 \(Error\)/,
    );
    await logsOf(pool, wordless, /last words/);
  });

  test.concurrent("that uses too much memory is Crashed with the reason", async () => {
    const limits = { memory_limit: "300Mi" };
    const script = await pool.runScript("exec tail /dev/zero", limits);
    const flow = await pool.runFlow("use_memory", {}, limits);
    expect((await endOf(pool, script, "CRASHED")).message).toMatch(
      /status code 137\. .*used more memory than its limit \(OOMKilled\)/,
    );
    const { message } = await endOf(pool, flow, "CRASHED");
    // With cgroup v1, the kernel may end the engine only. Its parent then reports the crash.
    if (!message?.includes("OOMKilled")) await logsOf(pool, flow, /OOMKilled/);
  });

  test.concurrent("whose image is missing waits with the reason, and is cancelled at once", async () => {
    const id = await pool.runFlow("hello", {}, { image: "localhost/missing:1" });
    await pool.untilState(id, "InfrastructurePending", /cannot pull its image\. .*localhost\/missing:1/);
    await pool.api.setState(id, "CANCELLING");
    const { states } = await endOf(pool, id, "CANCELLED");
    expect(states).not.toContain("Running");
    const isGone = async () => (await pool.jobsOf(id)).length === 0;
    await waitFor(isGone, { ...soon, what: "the end of the Job" });
  });

  test.concurrent("whose pod has a volume that is missing waits with the reason", async () => {
    const own = await WholePool.create({ namespace, shared });
    await own.changePods(({ volumes, containers: [{ volumeMounts }] }) => {
      volumes.push({ name: "missing", configMap: { name: "missing" } });
      volumeMounts.push({ name: "missing", mountPath: "/opt/missing" });
    });
    await using _worker = await own.startWorker({ user });
    const id = await own.runFlow("hello");
    await own.untilState(
      id,
      "InfrastructurePending",
      /cannot be mounted \(FailedMount\)\. .*configmap "missing" not found/,
    );
    const [body, path] = [{ metadata: { name: "missing" } }, `/api/v1/namespaces/${namespace.name}/configmaps`];
    await namespace.admin.request("POST", path, { body });
    await endOf(own, id, "COMPLETED");
  });

  test.concurrent("whose pod cannot be prepared is Crashed with the reason and the output", async () => {
    const own = await WholePool.create({ namespace, shared });
    await own.changePods((spec) => {
      const [{ volumeMounts }] = spec.containers;
      const command = ["sh", "-c", "echo no way; exit 9"];
      spec.initContainers = [{ name: "prepare", image: HOST_IMAGE, command, volumeMounts }];
    });
    await using _worker = await own.startWorker({ user });
    for (const id of [await own.runScript("true"), await own.runFlow("hello")]) {
      expect((await endOf(own, id, "CRASHED")).message).toMatch(
        /ended with exit code 9 \(Error\) in container 'prepare'/,
      );
      await logsOf(own, id, /no way/);
    }
  });

  test.concurrent("that is cancelled ends itself", async () => {
    const id = await pool.runFlow("sleep", { seconds: 600 });
    await pool.api.waitForState(id, ["RUNNING"], flowTimeoutMs);
    await pool.api.setState(id, "CANCELLING");
    await endOf(pool, id, "CANCELLED");
    const isOver = async () =>
      (await pool.podsOf(id)).every(({ status }) => /Succeeded|Failed/.test(status?.phase ?? ""));
    await waitFor(isOver, { ...soon, what: "the end of the pod" });
    expect(await pool.podsOf(id)).toHaveLength(1);
  });

  test.concurrent("whose engine hangs loses its pod when it is cancelled", async () => {
    const id = await pool.runFlow("sleep", { seconds: 600 });
    await pool.api.waitForState(id, ["RUNNING"], flowTimeoutMs);
    await signalAll(id, "SIGSTOP");
    await pool.api.setState(id, "CANCELLING");
    await endOf(pool, id, "CANCELLED");
    expect(await pool.jobsOf(id)).toEqual([]);
    expect(await processesOf(id)).toEqual([]);
  });

  test.concurrent("goes on when its worker is killed, and another worker reports its end", async () => {
    const [own, gate] = [await WholePool.create({ namespace, shared }), makeGate("killed")];
    await using first = await own.startWorker({ name: "first", user });
    const script = await own.runScript(`${gate.wait}; echo last; exit 5`);
    const flow = await own.runFlow("sleep", { seconds: 600 });
    for (const id of [script, flow]) await own.api.waitForState(id, ["RUNNING"], flowTimeoutMs);
    const plugin = await makePlugin(shared);
    await plugin.setToken(String(user.token), 40);
    await using _second = await own.startWorker({ name: "second", user: plugin.user });
    first.signal("SIGKILL");
    await first.exited;
    await gate.open();
    await signalAll(flow, "SIGKILL");
    const { message, states } = await endOf(own, script, "FAILED");
    expect(message).toMatch(/status code 5\. /);
    expect(states.filter((name) => name === "Running")).toHaveLength(1);
    expect((await endOf(own, flow, "CRASHED")).message).toMatch(/ended with exit code 137 \(Error\)/);
    for (const id of [script, flow]) expect(await own.podsOf(id)).toHaveLength(1);
    // The tokens of the plugin expire soon.
    expect((await plugin.calls()).length).toBeGreaterThan(1);
  });

  test.concurrent("can be any program, and a flow in TypeScript", async () => {
    const id = await pool.runScript(`echo hello; echo '{"message":"done"}' >"$LICTOR_RESULT_FILE"`);
    expect((await endOf(pool, id, "COMPLETED")).message).toBe("done");
    await logsOf(pool, id, /^hello$/);

    await mkdir(join(shared, "node_modules"));
    await symlink(inCheckout("."), join(shared, "node_modules", "lictor"));
    const source = inCheckout("test/fixtures/flows/typescript-flows.ts");
    await build({ entryPoints: [source], outfile: join(shared, "flows.mjs"), format: "esm" });
    const place = ["--working-dir", shared, "--entrypoint", "flows.mjs:many", "--image", HOST_IMAGE];
    const deploy = ["deploy", `many/${pool.name}`, "--pool", pool.name, ...place];
    const deployed = await runLictor(deploy, { env: { PREFECT_API_URL: inject("apiUrl") } });
    expect(deployed).toMatchObject({ code: 0, stderr: "" });
    const deployment = /with id '(.*)'/.exec(deployed.stdout)?.[1] ?? "";
    const flow = await pool.api.createFlowRun(deployment, { parameters: { count: 20 } });
    expect((await endOf(pool, flow.id, "COMPLETED")).message).toBe("20 of 20, at most 10 at once");
  });

  // Alone, because no pod can start meanwhile.
  test("of a drained node is executed again as soon as a node has room", async () => {
    const id = await pool.runFlow("sleep", { seconds: 600 });
    await pool.api.waitForState(id, ["RUNNING"], flowTimeoutMs);
    const [first] = await pool.podsOf(id);
    await cordon(namespace, nodeName, true);
    await namespace.evict(first?.metadata.name ?? "");
    await pool.untilState(id, "InfrastructurePending", /No node can run the pod \(Unschedulable\)/);
    await cordon(namespace, nodeName, false);
    const isAgain = async () => (await pool.api.readStates(id)).filter(({ name }) => name === "Running").length === 2;
    await waitFor(isAgain, { timeoutMs: flowTimeoutMs, what: "the second execution" });
    expect(await pool.jobsOf(id)).toHaveLength(2);
    await pool.api.setState(id, "CANCELLING");
    const { states } = await endOf(pool, id, "CANCELLED");
    expect(states).not.toContain("Crashed");
  });
});

/** The processes of a flow run, in containers too. */
async function processesOf(flowRunId: string): Promise<number[]> {
  return await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", flowRunId);
}

async function signalAll(flowRunId: string, signal: NodeJS.Signals): Promise<void> {
  const processes = await processesOf(flowRunId);
  expect(processes).not.toEqual([]);
  for (const pid of processes) signalProcess(pid, signal);
}
