// What becomes of the lines of a program whose states the worker reports.
import { expect, test } from "vitest";
import type { LogRecord } from "../../src/api/wire.ts";
import { ProgramLines } from "../../src/run/program-lines.ts";

function openLines() {
  const records: LogRecord[] = [];
  const values: number[] = [];
  const lines = new ProgramLines({
    flowRunId: "run-1",
    ship: (record) => records.push(record),
    redact: (text) => text.replaceAll("secret", "***"),
    progress: { set: (value) => values.push(value), end: async () => void values.push(-1) },
  });
  const out = (text: string): void => lines.add({ stream: "stdout", text });
  return { lines, out, records, values, messages: () => records.map(({ message }) => message) };
}

test("lines become log records of the flow run, each with a later time than the one before", () => {
  const { lines, out, records } = openLines();
  for (let index = 0; index < 2_000; index++) out(`line ${index}`);
  lines.add({ stream: "stderr", text: "bad" });
  expect(records).toHaveLength(2_001);
  expect(records[0]).toMatchObject({ name: "prefect.flow_runs", level: 20, flow_run_id: "run-1", task_run_id: null });
  expect(records.at(-1)).toMatchObject({ level: 40, message: "bad" });
  const times = records.map(({ timestamp }) => timestamp);
  expect(new Set(times).size).toBe(2_001);
  expect([...times].sort()).toEqual(times);
  expect(times[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
});

test("secrets, zero characters and empty lines are not sent", () => {
  const { out, messages } = openLines();
  for (const text of ["a secret", "", "  ", "z\0z"]) out(text);
  expect(messages()).toEqual(["a ***", "z\ufffdz"]);
});

test("progress lines are no log records, and no other line is progress", async () => {
  const { lines, out, values, messages } = openLines();
  for (const text of ["::progress 40", "::progress 12.5%", "::progress 400", "::progress x", "see ::progress 4"])
    out(text);
  await lines.end();
  expect(values).toEqual([40, 12.5, 100, -1]);
  expect(messages()).toEqual(["::progress x", "see ::progress 4"]);
});

test("the last ten lines are kept for the message of a failure", () => {
  const { lines, out } = openLines();
  for (let index = 1; index <= 12; index++) out(`${index} ${"x".repeat(1_000)}`);
  const last = lines.lastLines.split("\n");
  expect(last.map((line) => line.split(" ")[0])).toEqual(["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]);
  expect(last[0]).toHaveLength(300);
});

test("a flood of lines is cut off with a word about it, and its end is counted", async () => {
  const { lines, out, messages } = openLines();
  const text = "x".repeat(64_000);
  for (let index = 0; index < 2_000; index++) out(text);
  const sent = messages().filter((message) => message === text).length;
  expect(sent).toBeGreaterThan(50);
  expect(sent).toBeLessThan(75);
  await lines.end();
  expect(messages().at(-2)).toBe("The program prints more than the server can store. Lines are left out here.");
  expect(messages().at(-1)).toBe(`${2_000 - sent} lines were left out here. The worker's own output has them.`);
});
