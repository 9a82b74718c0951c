// Hands the results of a vitest run over to whoever started it, in the file that LICTOR_TEST_RESULTS names.
import { writeFile } from "node:fs/promises";
import type { Reporter, TestModule } from "vitest/node";
import { testResults } from "../support/test-results.ts";

/** Writes a JSON list of TestResult. */
export default class ResultsReporter implements Reporter {
  async onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): Promise<void> {
    const file = process.env.LICTOR_TEST_RESULTS;
    if (file === undefined) throw new Error("LICTOR_TEST_RESULTS names no file for the results.");
    await writeFile(file, JSON.stringify(testResults(modules, unhandledErrors)));
  }
}
