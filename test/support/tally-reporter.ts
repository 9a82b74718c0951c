// The last line of a test run: `N passed, N failed`, for whoever reads only that.
import type { Reporter, TestModule } from "vitest/node";
import { tally, testResults } from "./test-results.ts";

/** Prints the tally, and before it what does not apply to an older release of Prefect, with the reason. */
export default class TallyReporter implements Reporter {
  /** Prints at the exit of the process, since vitest and its teardowns may write until then. */
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const results = testResults(modules, unhandledErrors);
    const lines = results
      .filter(({ outcome }) => outcome === "not applicable")
      .map(({ file, title, reason }) => `not applicable: ${file} > ${title} (${reason})\n`);
    process.once("exit", () => process.stdout.write(`${lines.join("")}${tally(results)}\n`));
  }
}
