// Hands the results of a vitest run over to whoever started it, in the file that LICTOR_TEST_RESULTS names.
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import type { Reporter, TestModule, TestSpecification } from "vitest/node";
import { type TestResult, testResults } from "../support/test-results.ts";

/** What the file holds, as JSON. `unfinished` are the test files that have not ended, by their paths in the checkout. */
export interface WrittenResults {
  results: TestResult[];
  unfinished: string[];
}

/** Writes the file anew after each test file, so that a run that breaks off leaves what it has found. */
export default class ResultsReporter implements Reporter {
  readonly #ended: TestModule[] = [];
  #planned: readonly string[] = [];

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.#planned = specifications.map(({ moduleId, project }) => relative(project.config.root, moduleId));
    this.#write(testResults([], []));
  }

  onTestModuleEnd(module: TestModule): void {
    this.#ended.push(module);
    this.#write(testResults(this.#ended, []));
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    this.#planned = [];
    this.#write(testResults(modules, unhandledErrors));
  }

  #write(results: TestResult[]): void {
    const file = process.env.LICTOR_TEST_RESULTS;
    if (file === undefined) throw new Error("LICTOR_TEST_RESULTS names no file for the results.");
    const ended = new Set(this.#ended.map(({ relativeModuleId }) => relativeModuleId));
    const unfinished = this.#planned.filter((path) => !ended.has(path));
    writeFileSync(file, JSON.stringify({ results, unfinished } satisfies WrittenResults));
  }
}
