// The table of tests × releases.
import { markdownTable } from "../support/markdown-table.ts";
import type { TestResult } from "../support/test-results.ts";

/** What was run once: a release of Prefect, or a Node.js. `problem` says why there are no results. */
export interface Column {
  title: string;
  durationMs: number;
  results: readonly TestResult[];
  problem?: string;
}

/** The tests as rows, in the order they ran, and below the table why tests do not apply. */
export function resultsTable(what: string, columns: readonly Column[]): string {
  const reasons: string[] = [];
  const cell = (result: TestResult | undefined): string => {
    if (result === undefined) return "";
    if (result.outcome !== "not applicable") return result.outcome === "failed" ? "FAILED" : result.outcome;
    const reason = result.reason ?? "";
    if (!reasons.includes(reason)) reasons.push(reason);
    return `n/a ${reasons.indexOf(reason) + 1}`;
  };
  const rows = [...testsByFile(columns)].flatMap(([file, titles]) => [
    [`**${file || "the run as a whole"}**`],
    ...[...titles].map((title) => [title, ...columns.map((column) => cell(find(column, file, title)))]),
  ]);
  const width = columns.length + 1;
  const table = markdownTable(
    [what, ...columns.map(({ title }) => title)],
    [...rows, ["**passed / failed / n/a**", ...columns.map(sum)], ["**minutes**", ...columns.map(minutes)]].map(
      (row) => [...row, ...Array<string>(width - row.length).fill("")],
    ),
  );
  const notes = reasons.map((reason, index) => `n/a ${index + 1}: ${reason}`);
  const problems = columns.flatMap(({ title, problem }) => (problem ? [`${what} ${title}: ${problem}`] : []));
  return [table, ...notes, ...problems].join("\n");
}

function testsByFile(columns: readonly Column[]): Map<string, Set<string>> {
  const tests = new Map<string, Set<string>>();
  for (const { file, title } of columns.flatMap(({ results }) => results)) {
    tests.set(file, (tests.get(file) ?? new Set()).add(title));
  }
  return tests;
}

function find(column: Column, file: string, title: string): TestResult | undefined {
  return column.results.find((result) => result.file === file && result.title === title);
}

function sum({ results, problem }: Column): string {
  if (problem) return "none";
  return (["passed", "failed", "not applicable"] as const)
    .map((outcome) => results.filter((result) => result.outcome === outcome).length)
    .join(" / ");
}

function minutes({ durationMs }: Column): string {
  return (durationMs / 60_000).toFixed(1);
}
