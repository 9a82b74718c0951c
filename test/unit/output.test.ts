// What leaves the program beside states: log lines and events.
import { describe, expect, test } from "vitest";
import { createLogging, type LogFormat } from "../../src/logger.ts";
import { uuidv7 } from "../../src/run/worker-events.ts";

function openLog(
  format: LogFormat,
  secrets: string[] = [],
): { logging: ReturnType<typeof createLogging>; lines: string[] } {
  const lines: string[] = [];
  const sink = { write: (text: string) => lines.push(text) };
  return {
    logging: createLogging({
      format,
      level: "DEBUG",
      colours: false,
      isTerminal: false,
      secrets,
      out: sink,
      err: sink,
    }),
    lines,
  };
}

describe("a log line", () => {
  test("on a terminal has the reference's look", () => {
    const { logging, lines } = openLog("text");
    logging.named("prefect.flow_runs.worker").warn("careful");
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} \| WARNING \| prefect\.flow_runs\.worker - careful\n$/);
  });

  test("elsewhere is a JSON object", () => {
    const { logging, lines } = openLog("json");
    logging.logger.info({ flow_run_id: "x" }, "taken");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: 30, name: "lictor", msg: "taken", flow_run_id: "x" });
  });

  test.each(["text", "json"] as const)(
    "as %s hides secrets, also inside of fields, errors and announcements",
    (format) => {
      const { logging, lines } = openLog(format, ['quo"ted\\secret', "late secret"]);
      logging.logger.debug({ header: 'Basic quo"ted\\secret' }, 'with quo"ted\\secret');
      logging.logger.error({ err: new Error('because of quo"ted\\secret') }, "failed");
      logging.announce('announced quo"ted\\secret');
      logging.hide(["newer secret"]);
      logging.logger.info("late secret, newer secret");
      expect(lines).toHaveLength(4);
      expect(lines.join("")).not.toMatch(/secret/);
      expect(lines.join("")).toContain("********");
    },
  );
});

describe("hiding secrets", () => {
  const id = "0f8fad5b-d9cb-469f-a165-70867728950e";

  test("a secret of less than six characters hides nothing, since it would blot out every line", () => {
    const { logging, lines } = openLog("json", ["1", "true", "short", ""]);
    logging.named("prefect.flow_runs.worker").info({ flow_run_id: id, count: 11 }, "run 1 is true and short");
    logging.announce("1 true short");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: 30, name: "prefect.flow_runs.worker", flow_run_id: id, count: 11, msg: "run 1 is true and short" },
      { msg: "1 true short" },
    ]);
  });

  test("level, time, logger name and ids stay as they are, although they look like secrets", () => {
    const { logging, lines } = openLog("json", ["prefect", "0f8fad5b", '"level":30', "SCHEDULED", "lictor"]);
    const received: unknown[] = [];
    logging.onRecord = (record) => received.push(record);
    logging
      .named("prefect.flow_runs.worker")
      .info({ flow_run_id: id, flow_run_ids: [id], state_type: "SCHEDULED" }, `of prefect, ${id}`);
    const expected = {
      level: 30,
      time: expect.any(Number),
      name: "prefect.flow_runs.worker",
      flow_run_id: id,
      flow_run_ids: [id],
      state_type: "SCHEDULED",
      msg: "of ********, ********-d9cb-469f-a165-70867728950e",
    };
    expect(JSON.parse(lines[0] ?? "")).toEqual(expected);
    expect(received).toEqual([expected]);
  });

  test("a secret like part of the time leaves the record whole", () => {
    const { logging, lines } = openLog("json", [String(Date.now()).slice(0, 6)]);
    logging.logger.info("now");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ time: expect.any(Number), msg: "now" });
  });

  const secret = 'pa"ss\\wörd+/=';
  const cause = new Error(`cause with ${secret}`, { cause: `and ${secret}` });
  const rows: [name: string, fields: object][] = [
    ["a nested object", { request: { headers: [{ authorization: `Basic ${secret}` }] } }],
    ["a key of an object", { headers: { [secret]: 1 } }],
    ["JSON within a text", { body: JSON.stringify({ key: secret }) }],
    ["an encoded URL", { url: `http://h/?key=${encodeURIComponent(secret)}` }],
    ["the cause of an error", { err: new Error("outside", { cause }) }],
    ["an error of several", { err: new AggregateError([new Error(`inner ${secret}`)]) }],
    ["what was thrown and is no error", { err: secret }],
  ];
  test.each(rows)("reaches into %s", (_, fields) => {
    const { logging, lines } = openLog("json", [secret]);
    const received: unknown[] = [];
    logging.onRecord = (record) => received.push(record);
    logging.logger.error(fields, "failed");
    const written = lines.join("") + JSON.stringify(received);
    expect(written).not.toContain("wörd");
    expect(written).not.toContain(encodeURIComponent("wörd"));
    expect(written).toContain("********");
  });

  test("the longer of two secrets is hidden whole", () => {
    const { logging, lines } = openLog("json", ["secret", "secret-and-more"]);
    logging.logger.info("secret-and-more, secret");
    expect(JSON.parse(lines[0] ?? "").msg).toBe("********, ********");
  });

  test("the causes of an error follow in its stack, and a circle of them ends", () => {
    const { logging, lines } = openLog("json");
    const inner = new Error("inner");
    inner.cause = new Error("outer", { cause: inner });
    logging.logger.error({ err: inner.cause }, "failed");
    const { err } = JSON.parse(lines[0] ?? "");
    expect(err.message).toBe("outer");
    expect(err.stack).toMatch(/^Error: outer\n[\s\S]*\nCaused by: Error: inner\n/);
  });
});

describe("events", () => {
  test("have ids of UUID version 7 that sort by time", () => {
    const early = uuidv7(1_700_000_000_000);
    expect(early).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(early < uuidv7(1_700_000_000_001)).toBe(true);
  });
});
