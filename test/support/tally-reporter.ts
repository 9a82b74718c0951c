// The last line of a test run: `N passed, N failed`, for whoever reads only that.
import type { Reporter, TestModule, TestSuite } from "vitest/node";

/** Counts tests; what fails outside a test (a file that cannot be loaded, a hook, a stray rejection) counts as failed. */
export default class TallyReporter implements Reporter {
  /** Prints at the exit of the process, since vitest and its teardowns may write until then. */
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const line = tally(modules, unhandledErrors.length);
    process.once("exit", () => process.stdout.write(`${line}\n`));
  }
}

function tally(modules: readonly TestModule[], unhandledErrors: number): string {
  const count = { passed: 0, failed: unhandledErrors, skipped: 0 };
  for (const module of modules) {
    count.failed += failuresOutsideTests(module);
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      // A test that never came to run (a run broken off) has not passed.
      count[state === "pending" ? "failed" : state] += 1;
    }
  }
  const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
  return `${count.passed} passed, ${count.failed} failed${skipped}`;
}

function failuresOutsideTests(module: TestModule): number {
  const parts: (TestModule | TestSuite)[] = [module, ...module.children.allSuites()];
  return parts.filter((part) => part.errors().length > 0).length;
}
