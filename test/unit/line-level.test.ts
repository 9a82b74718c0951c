// The levels of lines that programs print, one row per form.
import { expect, test } from "vitest";
import { readLine } from "../../src/run/line-level.ts";

const [debug, info, warning, error, critical] = [10, 20, 30, 40, 50];

test.each<[line: string, level: number]>([
  ["just a line", info],
  ["ERROR something", error],
  ["ERROR: something", error],
  ["[error] something", error],
  ["<warn> something", warning],
  ["error: expected `;`", error],
  ["Warning: deprecated", warning],
  ["WARN  [main] slow", warning],
  ["  DEBUG | x", debug],
  ["CRITICAL - x", critical],
  ["FATAL", critical],
  ["2026-01-31 12:00:00,123 - ERROR - x", error],
  ["2026-01-31T12:00:00.123Z WARNING x", warning],
  ["[12:00:00] [debug] x", debug],
  ["12:00:00.123 | ERROR   | my.logger - x", error],
  ["Error handling is tested", info],
  ["Warnings: 0", info],
  ["ERRORS found: none", info],
  ["Information about info", info],
  ["time=12:00 level=warn msg=x", warning],
  ['level="error" msg="x y"', error],
  ["ts=1 lvl=dbug", info],
  ["the level=error is bad", info],
  ["{not json}", info],
])("%j has level %i on stdout", (text, level) => {
  expect(readLine({ stream: "stdout", text })).toEqual({ level, text, taskRunId: null });
});

test.each<[line: object, level: number, text: string]>([
  [{ level: 30, time: 1, pid: 2, hostname: "h", msg: "pino" }, info, "pino"],
  [{ level: 20, msg: "m" }, debug, "m"],
  [{ level: 10, msg: "m" }, debug, "m"],
  [{ level: 35, msg: "m" }, info, "m"],
  [{ level: 60, msg: "m" }, critical, "m"],
  [{ level: 50, msg: "m", rows: 3, v: 0 }, error, 'm {"rows":3}'],
  [{ severity: "WARNING", message: "m" }, warning, "m"],
  [{ levelname: "ERROR", message: "m" }, error, "m"],
  [{ level: "warn", event: "structlog" }, warning, '{"level":"warn","event":"structlog"}'],
  [{ level: "info", msg: 1 }, info, '{"level":"info","msg":1}'],
  [{ rows: 3 }, info, '{"rows":3}'],
  [{ level: "toString", msg: "m" }, info, "m"],
])("the JSON %j has level %i", (line, level, text) => {
  expect(readLine({ stream: "stdout", text: JSON.stringify(line) })).toEqual({ level, text, taskRunId: null });
});

test("a JSON line may name its task run", () => {
  const id = "01234567-89ab-cdef-0123-456789abcdef";
  const read = (task_run_id: unknown) =>
    readLine({ stream: "stdout", text: JSON.stringify({ level: 30, msg: "m", task_run_id }) });
  expect(read(id)).toEqual({ level: info, text: "m", taskRunId: id });
  for (const wrong of ["x", 1, null, `${id}0`]) expect(read(wrong)).toMatchObject({ text: "m", taskRunId: null });
});

test("a line of stderr is an error unless it says otherwise", () => {
  expect(readLine({ stream: "stderr", text: "oops" }).level).toBe(error);
  expect(readLine({ stream: "stderr", text: "INFO fine" }).level).toBe(info);
  expect(readLine({ stream: "stderr", text: '{"msg":"m"}' }).level).toBe(error);
});
