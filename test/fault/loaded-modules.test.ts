// What each command loads: the files of dist/, their size, and the modules of Node.js.
import { stat } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { inCheckout } from "../support/checkout.ts";
import { LICTOR, runLictor } from "../support/lictor.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

interface Loaded {
  files: string[];
  modules: string[];
}

const [node, bin = ""] = LICTOR;
const preload = inCheckout("test/fixtures/programs/print-loaded.cjs");
const isNode20 = process.version.startsWith("v20.");

/** Runs a command to its end, a worker to its first poll. */
async function loadedBy(args: readonly string[], env: Record<string, string> = {}): Promise<Loaded> {
  const { stderr } = await runLictor(args, {
    command: [node, "--require", preload, bin],
    env: { EXIT_AT_FIRST_POLL: "1", ...env },
  });
  return readLoaded(stderr);
}

function readLoaded(stderr: string): Loaded {
  return JSON.parse(/^loaded: (.*)$/m.exec(stderr)?.[1] ?? "") as Loaded;
}

async function sizeOf(files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map(async (file) => (await stat(inCheckout(`dist/${file}`))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe("a command loads its own files only", () => {
  test.each([
    ["--version", [], 0],
    ["--help", ["lictor.cjs"], 90_000],
    ["worker start --help", ["lictor.cjs"], 90_000],
    ["config view", ["config-actions.cjs", "lictor.cjs"], 300_000],
    ["profile ls", ["lictor.cjs", "profile-actions.cjs"], 350_000],
    ["version", ["lictor.cjs", "version-actions.cjs"], 350_000],
    ["completion bash", ["completion-actions.cjs", "lictor.cjs"], 350_000],
    ["work-pool ls", ["lictor.cjs", "operator-actions.cjs"], 350_000],
    ["worker status", ["lictor.cjs", "worker-control-actions.cjs"], 300_000],
  ] as const)("%s", async (command, files, mostBytes) => {
    const loaded = await loadedBy(command.split(" "));
    expect(loaded.files).toEqual(files);
    expect(await sizeOf(loaded.files)).toBeLessThanOrEqual(mostBytes);
  });

  test("worker start, until its first poll", async () => {
    await using server = await startPoolServer();
    const env = { PREFECT_API_URL: `${server.url}/api`, LICTOR_PYTHON: "/no/python" };
    const loaded = await loadedBy(["worker", "start", "--pool", "p"], env);
    expect(loaded.files).toEqual(["lictor.cjs", "worker-start-actions.cjs"]);
    expect(await sizeOf(loaded.files)).toBeLessThanOrEqual(650_000);
    // Later releases of Node.js load some of them themselves.
    if (!isNode20) return;
    const unneeded = ["https", "tls", "zlib", "readline", "module", "worker_threads", "perf_hooks", "assert", "crypto"];
    expect(loaded.modules.filter((name) => unneeded.includes(name))).toEqual([]);
    expect(loaded.modules.length).toBeLessThanOrEqual(85);
    // No socket, search for a Python, check of the version or look at other workers comes before the first poll.
    expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "GET /api/work_pools/p",
      expect.stringMatching("GET /api/csrf-token"),
    ]);
  });
});

// Later releases of Node.js load threads and performance measurements themselves.
test.runIf(isNode20)("an idle worker has loaded no threads, no performance measurements and no TLS", async () => {
  await using server = await startPoolServer();
  await using worker = await startPoolWorker(server, {}, [], [node, "--require", preload, bin]);
  await waitFor(() => pollTimes(server).length >= 3, { timeoutMs: 20_000, intervalMs: 20, what: "polls" });
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  const { files, modules } = readLoaded(worker.stderr);
  expect(files).toEqual(["lictor.cjs", "web-socket.cjs", "worker-start-actions.cjs"]);
  expect(modules).toContain("crypto");
  const unneeded = ["worker_threads", "perf_hooks", "module", "https", "tls", "zlib", "readline", "assert"];
  expect(modules.filter((name) => unneeded.includes(name))).toEqual([]);
});
