// Programs without Prefect in containers of a real engine. The worker reports their states.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { startDockerEngine, whyNoEngine } from "../support/docker-engine.ts";
import { BUSYBOX } from "../support/engine-images.ts";
import type { DockerEngine } from "../support/engine-program.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  type DockerPool,
  endOf,
  FLOW_TIMEOUT_MS,
  makeGate,
  newDockerPool,
  startDockerWorker,
  WAITING,
} from "./docker-pool.ts";

const missing = await whyNoEngine();

interface Artifact {
  type: string;
  data: unknown;
}

describe.skipIf(missing)("a program in a container", { timeout: 600_000 }, () => {
  let engine: DockerEngine;
  let pool: DockerPool;
  let worker: RunningProgram;
  let deployment: string;

  beforeAll(async () => {
    engine = await startDockerEngine();
    pool = await newDockerPool(engine);
    deployment = await deploy(pool);
    worker = await startDockerWorker(pool);
  });

  afterAll(async () => {
    await worker?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  async function deploy({ api, name }: DockerPool): Promise<string> {
    const jobVariables = { image: BUSYBOX, reporter: "worker" };
    return await api.createDeployment({ flowName: "any-program", name, workPool: name, jobVariables });
  }

  async function run(
    script: string,
    jobVariables: JsonObject = {},
    parameters: JsonObject = {},
    of = deployment,
  ): Promise<string> {
    const program = ["sh", "-c", script, "sh", "{{ parameters.who }}"];
    const flowRun = { parameters: { who: "nobody", ...parameters }, jobVariables: { program, ...jobVariables } };
    return (await pool.api.createFlowRun(of, flowRun)).id;
  }

  async function untilLogged(id: string, line: string, level: number): Promise<void> {
    const isThere = async () =>
      (await pool.api.readLogs(id)).some((record) => record.message === line && record.level === level);
    await waitFor(isThere, { timeoutMs: 30_000, what: `the log record ${line}` });
  }

  test("that succeeds is Completed, with its parameters, lines, progress and result", async () => {
    const script = `
      mkdir -p /tmp; echo "hello $1"; echo "::progress 30"; echo oops >&2
      echo '{"message":"done","markdown":"# Report"}' >"$LICTOR_RESULT_FILE"; echo "$PREFECT__PARAMETERS"`;
    const id = await run(script, {}, { who: "it's me" });
    const { message, states } = await endOf(pool, id, "COMPLETED");
    expect({ message, states }).toEqual({
      message: "done",
      states: ["Scheduled", "Pending", "Submitting", "Running", "Completed"],
    });
    await untilLogged(id, "hello it's me", 20);
    await untilLogged(id, '{"who":"it\'s me"}', 20);
    await untilLogged(id, "oops", 40);
    const filter = { artifacts: { flow_run_id: { any_: [id] } }, sort: "CREATED_DESC" };
    expect(await pool.api.request<Artifact[]>("POST", "/artifacts/filter", filter)).toMatchObject([
      { type: "markdown", data: "# Report" },
      { type: "progress", data: 30 },
    ]);
  });

  test("that fails, is killed, takes too long or is cancelled ends truthfully, printed or not", async () => {
    const failed = await run("echo bad; exit 3", { stream_output: false });
    const killed = await run("kill -9 $$; sleep 1; exit 137");
    const slow = await run("trap 'exit 0' TERM; sleep 600 & wait", { timeout_seconds: 2 });
    const cancelled = await run("trap 'exit 0' TERM; sleep 600 & wait");
    expect((await endOf(pool, failed, "FAILED")).message).toMatch(/status code 3\. .* Its last lines:\nbad$/);
    expect((await endOf(pool, killed, "CRASHED")).message).toMatch(/status code 137\. /);
    expect((await endOf(pool, slow, "FAILED")).flowRun.state?.name).toBe("TimedOut");
    await pool.api.waitForState(cancelled, ["RUNNING"], FLOW_TIMEOUT_MS);
    await pool.api.setState(cancelled, "CANCELLING");
    await endOf(pool, cancelled, "CANCELLED");
    await untilLogged(failed, "bad", 20);
    expect(worker.stdout).not.toMatch(/^bad$/m);
  });

  test("whose parameters fit into no variable is Crashed with words about it", async () => {
    const id = await run("true", {}, { large: "x".repeat(200_000) });
    expect((await endOf(pool, id, "CRASHED")).message).toMatch(
      /The parameters have 200\d+ bytes, and a variable of a container/,
    );
  });

  test("goes on when its worker is killed, and the next worker reports it", async () => {
    // Without the disk of the first worker, the next one passes on new lines only. So the program must still run then.
    await using gate = await makeGate();
    const own = await newDockerPool(engine);
    await using first = await startDockerWorker(own, { name: "first" });
    const id = await run(`${gate.wait}; echo last; exit 5`, gate.variables, {}, await deploy(own));
    await first.waitForOutput(new RegExp(`^${WAITING}$`, "m"), FLOW_TIMEOUT_MS);
    await pool.api.waitForState(id, ["RUNNING"], FLOW_TIMEOUT_MS);
    first.signal("SIGKILL");
    await first.exited;
    await using next = await startDockerWorker(own, { name: "first" });
    await next.waitForOutput(new RegExp(`^${WAITING}$`, "m"), FLOW_TIMEOUT_MS);
    await gate.open();
    const { message, states } = await endOf(own, id, "FAILED");
    expect(message).toMatch(/status code 5\. /);
    expect(states.filter((name) => name === "Running")).toHaveLength(1);
    await untilLogged(id, "last", 20);
  });

  test("has all its lines in the logs, also those that a killed worker had read and not sent", async () => {
    await using state = await makeTemporaryDirectory("lictor-state-");
    await using gate = await makeGate();
    const own = await newDockerPool(engine);
    const env = { LICTOR_STATE_DIR: state.path };
    const interval = { PREFECT_LOGGING_TO_API_BATCH_INTERVAL: "600" };
    await using first = await startDockerWorker(own, { name: "silent", env: { ...env, ...interval } });
    const id = await run(`echo ready; ${gate.wait}; echo last`, gate.variables, {}, await deploy(own));
    await first.waitForOutput(/^ready$/m, FLOW_TIMEOUT_MS);
    await pool.api.waitForState(id, ["RUNNING"], FLOW_TIMEOUT_MS);
    first.signal("SIGKILL");
    await first.exited;
    await gate.open();
    await using _next = await startDockerWorker(own, { name: "silent", env });
    await endOf(own, id, "COMPLETED");
    await untilLogged(id, "ready", 20);
    await untilLogged(id, "last", 20);
  });
});
