// Tests that depend on the release of Prefect they run against say so themselves.
import { inject, TestRunner } from "vitest";
import { isAtLeast } from "../../src/program/prefect-release.ts";

declare module "vitest" {
  export interface TaskMeta {
    /** Why the test does not apply to the release it was run against. */
    notApplicable?: string;
  }
}

/** Whether server and engines of this run are of `least` or later. */
export function isPrefectSince(least: string): boolean {
  return isAtLeast(inject("prefectVersion"), least);
}

/**
 * Ends the test as not applicable where Prefect is older than `least`; `what` came with that release. Belongs at the
 * beginning of a test, or into a `beforeEach` for all tests of a `describe`.
 */
export function needsPrefect(least: string, what: string): void {
  if (!isPrefectSince(least)) endAsNotApplicable(`${what}: since Prefect ${least}`);
}

/** Ends the test as not applicable, with the reason. */
export function endAsNotApplicable(reason: string): void {
  const test = TestRunner.getCurrentTest();
  if (test === undefined) throw new Error("a test was ended outside of a test");
  test.meta.notApplicable = reason;
  test.context.skip(reason);
}
