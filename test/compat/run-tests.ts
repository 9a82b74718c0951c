// One vitest run of its own, and what became of its tests.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "../support/checkout.ts";
import { signalProcess } from "../support/processes.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import type { TestResult } from "../support/test-results.ts";
import type { WrittenResults } from "./results-reporter.ts";

/** What to run, `folders` of tests in an environment with `env` on top; `stop` ends the run. */
export interface TestRun {
  folders: readonly string[];
  env: Readonly<Record<string, string>>;
  stop: AbortSignal;
}

/** For the tests of one run. They take two thirds of it on two cores; a test file that hangs must not take it all. */
const LIMIT_MS = 28 * 60_000;

/**
 * Runs the tests, their progress on the terminal. Where CI is set, test files that a run did not end are run once more.
 * Throws when they could not even begin.
 */
export async function runTests(run: TestRun): Promise<TestResult[]> {
  const { results, unfinished, problem } = await runVitest(run);
  if (!process.env.CI || unfinished.length === 0) return [...results, ...unfinished.map(toFailure(problem))];
  console.log(`\n=== ${problem}. Once more, what did not end: ${unfinished.join(" ")}`);
  const again = await runVitest({ ...run, folders: unfinished });
  return [...results, ...again.results, ...again.unfinished.map(toFailure(again.problem))];
}

function toFailure(problem: string): (file: string) => TestResult {
  return (file) => ({ file, title: "(the whole file)", outcome: "failed", reason: `did not end: ${problem}` });
}

async function runVitest({ folders, env, stop }: TestRun): Promise<WrittenResults & { problem: string }> {
  await using directory = await makeTemporaryDirectory("lictor-results-");
  const file = join(directory.path, "results.json");
  const reporters = ["default", inCheckout("test/compat/results-reporter.ts")].map((name) => `--reporter=${name}`);
  const vitest = inCheckout("node_modules/vitest/vitest.mjs");
  // Real servers and engines share few cores there. The output marks a test that passes only the second time.
  const retries = process.env.CI ? ["--retry=1"] : [];
  const child = spawn(process.execPath, [vitest, "run", ...folders, ...reporters, ...retries], {
    cwd: inCheckout("."),
    env: { ...process.env, ...env, LICTOR_TEST_RESULTS: file },
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  const end = () => child.kill("SIGTERM");
  const limit = process.env.CI ? setTimeout(end, LIMIT_MS) : undefined;
  stop.addEventListener("abort", end);
  const [code, signal] = await once(child, "exit");
  // A test that never waits outlives a vitest that was ended, and would take a core from the next run.
  signalProcess(-(child.pid ?? 0), "SIGKILL");
  clearTimeout(limit);
  stop.removeEventListener("abort", end);
  stop.throwIfAborted();
  const problem = `vitest ended with ${signal ?? `exit ${code}`}`;
  const written = await readFile(file, "utf8").catch(() => undefined);
  if (written === undefined) throw new Error(`the tests did not begin (${problem})`);
  const { results, unfinished } = JSON.parse(written) as WrittenResults;
  const isExplained = code === 0 || unfinished.length > 0 || results.some(({ outcome }) => outcome === "failed");
  return {
    results: isExplained ? results : [...results, { file: "", title: problem, outcome: "failed" }],
    unfinished,
    problem,
  };
}
