// Engines that are forked from a Python that has imported Prefect, beside engines that are started anew.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { isPrefectSince } from "../support/prefect-release.ts";
import { forkServers, pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

interface Facts {
  shared: Record<string, unknown>;
  own: { parent: number; directory: string; "run id": string; "shown run id": string } & Record<string, unknown>;
}

interface Worker extends AsyncDisposable {
  program: RunningProgram;
  /** Runs the flow of the facts and returns what it saw. */
  run(jobVariables?: JsonObject): Promise<Facts>;
  /** The pids of this worker's fork servers. */
  servers(): Promise<number[]>;
}

/** A worker in a pool of its own. Warm by default. */
async function start(env: Record<string, string> = {}, pool: JsonObject = {}): Promise<Worker> {
  const api = sharedApi();
  const workPool = await newPool(api, pool);
  const directory = await makeTemporaryDirectory("lictor-facts-");
  const program = await startWorker(workPool, {
    apiUrl: inject("apiUrl"),
    args: ["--log-format", "json"],
    env: { LICTOR_ENGINE: "warm", PREFECT_LOGGING_LEVEL: "DEBUG", ...env },
  });
  let count = 0;
  return {
    program,
    async run(jobVariables = {}) {
      count += 1;
      const file = join(directory.path, String(count));
      const deployment = await deploy(api, workPool, "process_facts", { jobVariables });
      const { id } = await api.createFlowRun(deployment, { parameters: { file } });
      await api.waitForState(id, ["COMPLETED"], 60_000);
      // The engine reports the end before it ends.
      await waitFor(async () => (await readFile(`${file}.exit`, "utf8").catch(() => "")) === "atexit\n", {
        timeoutMs: 20_000,
        what: "the function of atexit",
      });
      return JSON.parse(await readFile(file, "utf8")) as Facts;
    },
    async servers() {
      const own = await pidsWithEnvironment("HOME", program.home);
      return (await forkServers()).filter((pid) => own.includes(pid));
    },
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

describe.runIf(process.platform === "linux")("a forked engine", () => {
  test("sees the same process as a new one, and shares with no other what only one may have", async () => {
    await using warm = await start();
    const [first, second] = [await warm.run(), await warm.run()];
    const [server] = await warm.servers();
    expect([first.own.parent, second.own.parent]).toEqual([server, server]);
    await using cold = await start({ LICTOR_ENGINE: "cold", HOME: warm.program.home, ...homeOf(warm.program) });
    const anew = await cold.run();
    expect(anew.own.parent).toBe(cold.program.pid);

    expect(first.shared).toEqual(anew.shared);
    expect(second.shared).toEqual(anew.shared);
    for (const name of ["run id", "random", "uuid", "authkey", "token", "directory"]) {
      expect(first.own[name], name).not.toEqual(second.own[name]);
    }
    for (const { own } of [first, second]) {
      expect(own["shown run id"]).toBe(own["run id"]);
      expect(own["native id"]).toBe(true);
    }
    const prepared = [first, anew].map(({ own }) => own["prepared tls"]);
    // Prefect 3.0 leaves its contexts to httpx.
    expect(prepared).toEqual([isPrefectSince("3.1"), false]);
  });

  test("has the variables of its own flow run, also those that Prefect reads when it is imported", async () => {
    await using worker = await start();
    const debug = await worker.run({ env: { PREFECT_LOGGING_LEVEL: "ERROR", OWN: "1" } });
    const other = await worker.run({ env: { OWN: "2" } });
    const levels = [debug, other].map(({ shared }) => (shared.loggers as Record<string, unknown[]>).prefect?.[0]);
    expect(levels).toEqual([40, 10]);
    expect([debug, other].map(({ shared }) => (shared.environment as JsonObject).OWN)).toEqual(["1", "2"]);
    expect(await worker.servers()).toHaveLength(2);
  });

  test("has the modules of its own working directory", async () => {
    await using worker = await start();
    await using directory = await makeTemporaryDirectory("lictor-projects-");
    for (const project of ["one", "two"]) {
      await mkdir(join(directory.path, project));
      await writeFile(join(directory.path, project, "helper.py"), `NAME = "${project}"\n`);
      const { shared, own } = await worker.run({ working_dir: join(directory.path, project) });
      expect(shared.helper).toBe(project);
      expect(await worker.servers()).toEqual([own.parent]);
    }
  });
});

describe.runIf(process.platform === "linux")("an engine is started anew", () => {
  test.each([
    ["with settings in its working directory", "prefect.toml", '[logging]\nlevel = "ERROR"\n'],
    [
      "with a module in its working directory that Prefect would import",
      "httpx/__init__.py",
      "raise ImportError('of the project')\n",
    ],
  ])("%s", async (_, file, content) => {
    await using worker = await start();
    await using directory = await makeTemporaryDirectory("lictor-project-");
    await mkdir(join(directory.path, file, ".."), { recursive: true });
    await writeFile(join(directory.path, file), content);
    const jobVariables = { working_dir: directory.path };
    if (file.endsWith(".toml")) {
      expect((await worker.run(jobVariables)).own.parent).toBe(worker.program.pid);
      return;
    }
    // A new engine fails to import its own module, and so must this one.
    await expect(worker.run(jobVariables)).rejects.toThrow(/CRASHED/);
    await worker.program.waitForOutput(/of the project/, 20_000);
  });

  test("with a command of the deployment's own", async () => {
    await using worker = await start();
    const { own } = await worker.run({ command: `${inject("python")} -m prefect.engine` });
    expect(own.parent).toBe(worker.program.pid);
    expect(await worker.servers()).toEqual([]);
  });
});

describe.runIf(process.platform === "linux")("a fork server", () => {
  test("starts with the worker, unless the flow runs of the pool have a command", async () => {
    await using worker = await start({ LICTOR_ENGINE_LAZY: "false" });
    const [server] = await waitFor(async () => ((await worker.servers()).length > 0 ? await worker.servers() : false), {
      timeoutMs: 30_000,
      what: "a fork server",
    });
    const { own } = await worker.run();
    expect(own.parent).toBe(server);
  });

  test("that is killed costs no flow run, and is replaced", async () => {
    await using worker = await start();
    const first = await worker.run();
    signalProcess(first.own.parent, "SIGKILL");
    const second = await worker.run();
    expect(await worker.servers()).toEqual([second.own.parent]);
    expect(second.own.parent).not.toBe(first.own.parent);
  });

  test("ends when it has been idle", async () => {
    await using worker = await start({ LICTOR_ENGINE_IDLE_SECONDS: "1" });
    const { own } = await worker.run();
    expect(own.parent).not.toBe(worker.program.pid);
    await waitFor(async () => (await worker.servers()).length === 0, { timeoutMs: 10_000, what: "no fork server" });
  });

  test("ends with its worker", async () => {
    await using worker = await start();
    await worker.run();
    worker.program.signal("SIGKILL");
    await worker.program.exited;
    await waitFor(async () => (await worker.servers()).length === 0, { timeoutMs: 10_000, what: "no fork server" });
  });

  test("imports the modules of LICTOR_PRELOAD, again after they have changed, but none that starts a thread", async () => {
    await using modules = await makeTemporaryDirectory("lictor-modules-");
    const write = (name: string, text: string) => writeFile(join(modules.path, `${name}.py`), text);
    await write("helper_large", "VALUE = 1\n");
    await write(
      "helper_thread",
      "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n",
    );
    const env = { LICTOR_PRELOAD: "helper_large, helper_thread,helper_missing", PYTHONPATH: modules.path };
    await using worker = await start(env);
    await worker.run();
    await worker.program.waitForOutput(/the module 'helper_thread' starts a thread when it is imported/, 20_000);
    await worker.program.waitForOutput(/the module 'helper_missing' cannot be imported/, 20_000);
    const first = await waitFor(
      async () => {
        const facts = await worker.run();
        return facts.own.parent !== worker.program.pid && facts;
      },
      { timeoutMs: 60_000, what: "a forked engine" },
    );
    expect(first.shared["project modules"]).toContain("helper_large");
    await write("helper_large", "VALUE = 2000\n");
    const second = await worker.run();
    expect(second.own.parent).not.toBe(worker.program.pid);
    expect(second.own.parent).not.toBe(first.own.parent);
    expect(second.shared["project modules"]).toContain("helper_large");
  });
});

/** The same directories, which are part of what a flow run sees. */
function homeOf({ home }: RunningProgram): Record<string, string> {
  return { PREFECT_HOME: join(home, ".prefect"), TMPDIR: join(home, "tmp") };
}
