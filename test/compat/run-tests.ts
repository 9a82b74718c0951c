// One vitest run of its own, and what became of its tests.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "../support/checkout.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import type { TestResult } from "../support/test-results.ts";

/** What to run, `folders` of tests in an environment with `env` on top; `stop` ends the run. */
export interface TestRun {
  folders: readonly string[];
  env: Readonly<Record<string, string>>;
  stop: AbortSignal;
}

/** Runs the tests, their progress on the terminal. Throws when they could not even begin. */
export async function runTests({ folders, env, stop }: TestRun): Promise<TestResult[]> {
  await using directory = await makeTemporaryDirectory("lictor-results-");
  const file = join(directory.path, "results.json");
  const reporters = ["default", inCheckout("test/compat/results-reporter.ts")].map((name) => `--reporter=${name}`);
  const vitest = inCheckout("node_modules/vitest/vitest.mjs");
  // Real servers and engines share few cores there. The output marks a test that passes only the second time.
  const retries = process.env.CI ? ["--retry=1"] : [];
  const child = spawn(process.execPath, [vitest, "run", ...folders, ...reporters, ...retries], {
    cwd: inCheckout("."),
    env: { ...process.env, ...env, LICTOR_TEST_RESULTS: file },
    stdio: "inherit",
  });
  const end = () => child.kill("SIGTERM");
  stop.addEventListener("abort", end);
  const [code] = await once(child, "close");
  stop.removeEventListener("abort", end);
  stop.throwIfAborted();
  const written = await readFile(file, "utf8").catch(() => undefined);
  if (written === undefined) throw new Error(`the tests did not begin (exit ${code})`);
  const results = JSON.parse(written) as TestResult[];
  const isExplained = code === 0 || results.some(({ outcome }) => outcome === "failed");
  return isExplained ? results : [...results, { file: "", title: `vitest ended with exit ${code}`, outcome: "failed" }];
}
