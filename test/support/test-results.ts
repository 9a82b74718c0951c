// What became of the tests of a run, one entry each, and their tally.
import type { TestModule, TestSuite } from "vitest/node";

/** One test. `reason` says why it does not apply. */
export interface TestResult {
  file: string;
  title: string;
  outcome: "passed" | "failed" | "skipped" | "not applicable";
  reason?: string;
}

/** All tests; what fails outside a test (a file that cannot be loaded, a hook, a stray rejection) is an entry too. */
export function testResults(modules: readonly TestModule[], unhandledErrors: number): TestResult[] {
  const results = modules.flatMap((module) => [...failuresOutsideTests(module), ...resultsOf(module)]);
  for (let count = 1; count <= unhandledErrors; count++) {
    results.push({ file: "", title: `stray error ${count}`, outcome: "failed" });
  }
  return results;
}

function failuresOutsideTests(module: TestModule): TestResult[] {
  const parts: (TestModule | TestSuite)[] = [module, ...module.children.allSuites()];
  return parts
    .filter((part) => part.errors().length > 0)
    .map((part) => ({
      file: module.relativeModuleId,
      title: part.type === "suite" ? `${part.fullName} (outside its tests)` : "(outside its tests)",
      outcome: "failed",
    }));
}

function resultsOf(module: TestModule): TestResult[] {
  return [...module.children.allTests()].map((test) => {
    const named = { file: module.relativeModuleId, title: test.fullName };
    const { notApplicable: reason } = test.meta();
    if (reason !== undefined) return { ...named, outcome: "not applicable", reason };
    const { state } = test.result();
    // A test that never came to run (a run broken off) has not passed.
    return { ...named, outcome: state === "pending" ? "failed" : state };
  });
}

/** `N passed, N failed`; what was skipped without a reason does not go unsaid. */
export function tally(results: readonly TestResult[]): string {
  const count = (outcome: TestResult["outcome"]) => results.filter((result) => result.outcome === outcome).length;
  const skipped = count("skipped") > 0 ? `, ${count("skipped")} skipped` : "";
  return `${count("passed")} passed, ${count("failed")} failed${skipped}`;
}
