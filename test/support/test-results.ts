// What became of the tests of a run, one entry each, and their tally.
import type { TestModule, TestSuite } from "vitest/node";

/** One test. `reason` says why it does not apply, or failed. */
export interface TestResult {
  file: string;
  title: string;
  outcome: "passed" | "failed" | "skipped" | "not applicable";
  reason?: string;
}

/** All tests; what fails outside a test (a file that cannot be loaded, a hook, a stray rejection) is an entry too. */
export function testResults(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): TestResult[] {
  const results = modules.flatMap((module) => [...failuresOutsideTests(module), ...resultsOf(module)]);
  for (const [index, error] of unhandledErrors.entries()) {
    results.push({ file: "", title: `stray error ${index + 1}`, outcome: "failed", reason: messages([error]) });
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
      reason: messages(part.errors()),
    }));
}

function resultsOf(module: TestModule): TestResult[] {
  return [...module.children.allTests()].map((test) => {
    const named = { file: module.relativeModuleId, title: test.fullName };
    const { notApplicable: reason } = test.meta();
    if (reason !== undefined) return { ...named, outcome: "not applicable", reason };
    const { state, errors } = test.result();
    // A test that never came to run (a run broken off) has not passed.
    if (state === "pending") return { ...named, outcome: "failed", reason: "never came to run" };
    return state === "failed" ? { ...named, outcome: state, reason: messages(errors) } : { ...named, outcome: state };
  });
}

function messages(errors: readonly unknown[]): string {
  return errors.map((error) => (error as Partial<Error> | undefined)?.message ?? String(error)).join("\n");
}

/** `N passed, N failed`; what was skipped without a reason does not go unsaid. */
export function tally(results: readonly TestResult[]): string {
  const count = (outcome: TestResult["outcome"]) => results.filter((result) => result.outcome === outcome).length;
  const skipped = count("skipped") > 0 ? `, ${count("skipped")} skipped` : "";
  return `${count("passed")} passed, ${count("failed")} failed${skipped}`;
}
