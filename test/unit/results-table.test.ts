// The table of the compatibility tests.
import { expect, test } from "vitest";
import { resultsTable } from "../compat/results-table.ts";

test("the results of releases stand side by side, with the reason of what does not apply and of what could not run", () => {
  const file = "test/server/a.test.ts";
  const table = resultsTable("Prefect", [
    {
      title: "3.0.11",
      durationMs: 90_000,
      results: [
        { file, title: "channel", outcome: "not applicable", reason: "the worker channel: since Prefect 3.7.2" },
        { file, title: "start", outcome: "failed" },
      ],
    },
    { title: "3.4.25", durationMs: 0, results: [], problem: "no matching distribution" },
    {
      title: "3.9.1",
      durationMs: 30_000,
      results: [
        { file, title: "channel", outcome: "passed" },
        { file, title: "start", outcome: "passed" },
      ],
    },
  ]);
  expect(table).toBe(`\
| Prefect                   | 3.0.11    | 3.4.25 | 3.9.1     |
| ------------------------- | --------- | ------ | --------- |
| **test/server/a.test.ts** |           |        |           |
| channel                   | n/a 1     |        | passed    |
| start                     | FAILED    |        | passed    |
| **passed / failed / n/a** | 0 / 1 / 1 | none   | 2 / 0 / 0 |
| **minutes**               | 1.5       | 0.0    | 0.5       |
n/a 1: the worker channel: since Prefect 3.7.2
Prefect 3.4.25: no matching distribution`);
});
