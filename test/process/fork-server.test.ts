// The Python that forks engines, with a small package in place of Prefect, whose engine does what its flow run says.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, inject, test } from "vitest";
import { type ForkedProcess, ForkServer } from "../../src/program/fork-server.ts";
import { isAlive, pidsWithEnvironment } from "../support/processes.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";

const flowRunId = "01234567-89ab-cdef-0123-456789abcdef";

/** Opens a server whose engine runs the Python of the variable CODE. */
async function open({ idleSeconds = 60 } = {}) {
  const directory = await makeTemporaryDirectory("lictor-fork-");
  const modules = join(directory.path, "modules");
  const cwd = join(directory.path, "cwd");
  await mkdir(join(modules, "prefect"), { recursive: true });
  await mkdir(cwd);
  const write = (name: string, text: string) => writeFile(join(modules, "prefect", name), text);
  for (const name of ["__init__.py", "flow_engine.py", "settings.py"]) await write(name, "");
  await write("engine.py", "import os\nif __name__ == '__main__':\n    exec(os.environ['CODE'])\n");
  const base = { PYTHONPATH: modules, PATH: process.env.PATH ?? "" };
  const server = new ForkServer({
    python: inject("python"),
    env: base,
    inheritsOutput: false,
    idleSeconds,
    preload: [],
  });
  const out = join(directory.path, "out");
  await writeFile(out, "");
  return {
    server,
    cwd,
    modules,
    printed: () => readFile(out, "utf8"),
    /** The server, and its processes until they have a flow run. */
    pids: () => pidsWithEnvironment("PYTHONPATH", modules),
    fork: (code: string) =>
      server.fork({
        flowRunId,
        cwd,
        env: { ...base, CODE: code, PREFECT__FLOW_RUN_ID: flowRunId },
        output: [out, out],
      }),
    async [Symbol.asyncDispose]() {
      server[Symbol.dispose]();
      await server.over;
      await directory[Symbol.asyncDispose]();
    },
  };
}

function expectForked(forked: ForkedProcess | string): ForkedProcess {
  if (typeof forked === "string") throw new Error(forked);
  return forked;
}

describe.runIf(process.platform === "linux")("a forked process", () => {
  test("does nothing before it may go on, and then runs the engine as the main module", async () => {
    await using opened = await open();
    expect(await opened.server.ready).toEqual({ kind: "ready", refused: [] });
    const forked = expectForked(await opened.fork("print(__name__, os.getpid(), os.getcwd(), flush=True)"));
    await delay(300);
    expect(await opened.printed()).toBe("");
    forked.go();
    expect(await forked.exited).toEqual({ code: 0, signal: null });
    expect(await opened.printed()).toBe(`__main__ ${forked.pid} ${opened.cwd}\n`);
  });

  test.each([
    ["its exit code", "import sys; sys.exit(7)", { code: 7, signal: null }],
    ["the exit code of an error", "raise ValueError()", { code: 1, signal: null }],
    ["its signal", "import signal; os.kill(os.getpid(), signal.SIGKILL)", { code: null, signal: "SIGKILL" }],
    ["the usual name of its signal", "os.abort()", { code: null, signal: "SIGABRT" }],
  ])("ends with %s", async (_, code, exit) => {
    await using opened = await open();
    const forked = expectForked(await opened.fork(code));
    forked.go();
    expect(await forked.exited).toEqual(exit);
  });

  test("keeps the files that it opens when Python collects what the server had", async () => {
    await using opened = await open();
    const forked = expectForked(
      await opened.fork(
        "import gc; files = [os.open('/dev/null', os.O_RDONLY) for _ in range(40)]; gc.collect(); [os.fstat(each) for each in files]",
      ),
    );
    forked.go();
    expect(await forked.exited).toEqual({ code: 0, signal: null });
  });

  test("that may not go on ends with the server, and one that runs goes on", async () => {
    await using opened = await open();
    const waits = expectForked(await opened.fork("print('began', flush=True)"));
    const runs = expectForked(
      await opened.fork("import time; print('runs', flush=True); time.sleep(2); print('done', flush=True)"),
    );
    runs.go();
    await waitFor(async () => (await opened.printed()) === "runs\n", { timeoutMs: 10_000, what: "the flow run" });
    opened.server[Symbol.dispose]();
    expect(await waits.exited).toBeNull();
    expect(await runs.exited).toBeNull();
    await waitFor(async () => !isAlive(waits.pid), { timeoutMs: 10_000, what: "the end of the one that waits" });
    await waitFor(async () => (await opened.printed()) === "runs\ndone\n", {
      timeoutMs: 10_000,
      what: "the other's end",
    });
  });
});

describe.runIf(process.platform === "linux")("a process that is forked before its flow run comes", () => {
  /** Waits until there are so many processes, and returns them. */
  async function waitForPids({ pids }: Awaited<ReturnType<typeof open>>, count: number): Promise<number[]> {
    const areThere = async () => {
      const found = await pids();
      return found.length === count && found;
    };
    return await waitFor(areThere, { timeoutMs: 10_000, what: `${count} processes`, intervalMs: 5 });
  }

  test("executes it", async () => {
    await using opened = await open();
    await opened.server.ready;
    opened.server.expect();
    const pids = await waitForPids(opened, 2);
    const forked = expectForked(await opened.fork("print(os.getpid(), os.getsid(0), flush=True)"));
    expect(pids).toContain(forked.pid);
    forked.go();
    expect(await forked.exited).toEqual({ code: 0, signal: null });
    expect(await opened.printed()).toBe(`${forked.pid} ${forked.pid}\n`);
    expect(await opened.pids()).toHaveLength(1);
  });

  test("ends when none comes, and the next flow run sees whether files have changed", async () => {
    await using opened = await open();
    await opened.server.ready;
    opened.server.expect();
    opened.server.expect();
    await waitForPids(opened, 2);
    await waitForPids(opened, 1);
    await writeFile(join(opened.modules, "prefect", "settings.py"), "NEW = True\n");
    expect(await opened.fork("")).toBe("changed");
  });

  test("ends with the server, and is not used if it was killed", async () => {
    await using opened = await open();
    await opened.server.ready;
    const [server] = await opened.pids();
    opened.server.expect();
    const killed = (await waitForPids(opened, 2)).find((pid) => pid !== server) as number;
    process.kill(killed, "SIGKILL");
    await waitForPids(opened, 1);
    const forked = expectForked(await opened.fork("pass"));
    expect(forked.pid).not.toBe(killed);
    forked.go();
    expect(await forked.exited).toEqual({ code: 0, signal: null });
    opened.server.expect();
    const left = await waitForPids(opened, 2);
    opened.server[Symbol.dispose]();
    await waitFor(() => left.every((pid) => !isAlive(pid)), { timeoutMs: 10_000, what: "the end of both" });
  });
});

describe.runIf(process.platform === "linux")("a fork is refused", () => {
  test("when the working directory has a module of an imported name", async () => {
    await using opened = await open();
    await writeFile(join(opened.cwd, "json.py"), "");
    expect(await opened.fork("")).toBe("the working directory hides the module json");
  });

  test("when the working directory does not exist", async () => {
    await using opened = await open();
    const answer = await opened.server.fork({ flowRunId, cwd: "/nowhere", env: {}, output: null });
    expect(answer).toContain("/nowhere");
  });

  test("when an imported file has changed", async () => {
    await using opened = await open();
    await opened.server.ready;
    await writeFile(join(opened.modules, "prefect", "settings.py"), "NEW = True\n");
    expect(await opened.fork("")).toBe("changed");
  });

  test("by a server that has ended for want of flow runs", async () => {
    await using opened = await open({ idleSeconds: 0.2 });
    await opened.server.over;
    expect(await opened.fork("")).toBe("ended");
  });

  test("by a server whose import fails, and it says why", async () => {
    await using opened = await open();
    await using broken = await makeTemporaryDirectory("lictor-broken-");
    await mkdir(join(broken.path, "prefect"));
    await writeFile(join(broken.path, "prefect", "__init__.py"), "raise RuntimeError('no good')\n");
    const options = { python: inject("python"), inheritsOutput: false, idleSeconds: 60, preload: [] };
    using server = new ForkServer({ ...options, env: { PYTHONPATH: broken.path } });
    expect(await server.ready).toEqual({ kind: "failed", why: "RuntimeError: no good" });
    using missing = new ForkServer({ ...options, python: "/nowhere/python", env: {} });
    expect(await missing.ready).toMatchObject({ kind: "failed", why: expect.stringContaining("ENOENT") });
    expect(opened.server.isOver).toBe(false);
  });
});
