// The CPU time and the time of starts: a worker until its first poll, and `lictor --version`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { inCheckout } from "../support/checkout.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { type Bench, findPoll, type Row, startPolling } from "./bench-context.ts";
import { median } from "./statistics.ts";

/** Starts of a CPU measurement: cheap, and on a busy machine they vary. */
const cpuFactor = 2;

/** The time and the CPU time from spawn to first poll, both workers in turn so that they meet the same conditions. */
export async function measureStart(bench: Bench): Promise<Row[]> {
  const { kinds, sizes, api, say, proxy, apiUrl } = bench;
  const pool = `bench-start-${Date.now() % 1e7}`;
  await api.createWorkPool(pool);
  const times: [number[], number[]] = [[], []];
  const cpu: [number[], number[]] = [[], []];
  const oneRequest: number[] = [];
  // One home for all rounds, because Node.js may keep compiled code there.
  await using home = await makeTemporaryDirectory("lictor-bench-");
  // Round 0 warms the caches up.
  for (let round = 0; round <= sizes.repeats; round++) {
    say(`start ${round} of ${sizes.repeats}`);
    for (const [index, kind] of kinds.entries()) {
      bench.stop.throwIfAborted();
      await using worker = await startPolling(bench, kind, pool);
      if (round > 0) times[index]?.push(worker.firstPollMs);
    }
  }
  for (let round = 0; round <= sizes.repeats * cpuFactor; round++) {
    for (const [index, { command, args }] of kinds.entries()) {
      // The reference takes seconds of CPU time, and varies less.
      if (index === 1 && round > Math.ceil(sizes.repeats / 4)) continue;
      bench.stop.throwIfAborted();
      const seen = proxy.requests.length;
      const start = ["worker", "start", "--pool", pool, "--name", "bench-worker", ...args];
      const isPolling = async (): Promise<void> => {
        await waitFor(() => findPoll(proxy, pool, seen), { timeoutMs: 120_000, what: "a poll", intervalMs: 2 });
      };
      const ms = await measureCpu(bench, home.path, [...command, ...start], isPolling);
      if (round > 0) cpu[index]?.push(ms);
    }
    const program = [process.execPath, inCheckout("test/fixtures/programs/one-request.cjs"), `${apiUrl}/health`];
    const ms = await measureCpu(bench, home.path, program);
    if (round > 0) oneRequest.push(ms);
  }
  const faster = median(times[1]) / median(times[0]);
  const more = median(cpu[0]) / median(oneRequest);
  return [
    {
      name: "start",
      what: "start → first poll",
      unit: "ms",
      lictor: times[0],
      reference: times[1],
      goal: { text: "12 x faster", isMet: faster >= 12 },
    },
    {
      name: "start",
      what: "start → first poll, CPU time",
      unit: "ms",
      lictor: cpu[0],
      reference: cpu[1],
      goal: {
        text: `2.0 x a Node.js program with one request (${median(oneRequest).toFixed(0)} ms): ${more.toFixed(2)} x`,
        isMet: more <= 2,
      },
    },
  ];
}

/** The CPU time of `lictor --version` beside that of an empty program. */
export async function measureVersion(bench: Bench): Promise<Row[]> {
  const { kinds, sizes } = bench;
  const samples: [number[], number[], number[]] = [[], [], []];
  await using home = await makeTemporaryDirectory("lictor-bench-");
  for (let round = 0; round <= sizes.repeats * cpuFactor; round++) {
    const commands = [
      [...kinds[0].command, "--version"],
      [...kinds[1].command, "--version"],
      [process.execPath, "-e", "0"],
    ];
    for (const [index, command] of commands.entries()) {
      if (index === 1 && round > Math.ceil(sizes.repeats / 4)) continue;
      bench.stop.throwIfAborted();
      const ms = await measureCpu(bench, home.path, command);
      if (round > 0) samples[index as 0 | 1 | 2].push(ms);
    }
  }
  const [lictor, reference, empty] = samples;
  const more = median(lictor) / median(empty);
  const text = `1.3 x node -e 0 (${median(empty).toFixed(0)} ms): ${more.toFixed(2)} x`;
  return [
    { name: "version", what: "--version, CPU time", unit: "ms", lictor, reference, goal: { text, isMet: more <= 1.3 } },
  ];
}

/** Returns the CPU time of a command, in ms. `until` ends it at once. The environment holds nothing of the caller's. */
async function measureCpu(
  bench: Bench,
  home: string,
  command: readonly string[],
  until?: () => Promise<void>,
): Promise<number> {
  const child = spawn(bench.environment.python, [inCheckout("test/bench/cpu-time.py"), ...command], {
    cwd: home,
    env: cleanEnvironment({ HOME: home, PREFECT_HOME: home, PREFECT_API_URL: bench.proxy.apiUrl }),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = text(child.stdout);
  await until?.();
  if (until) child.kill("SIGTERM");
  if (child.exitCode === null) await once(child, "exit");
  const ms = Number(await output);
  if (!(ms > 0)) throw new Error(`no CPU time of ${command.join(" ")}`);
  return ms;
}
