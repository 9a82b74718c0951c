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
  return { logging: createLogging({ format, level: "DEBUG", colours: false, secrets, out: sink, err: sink }), lines };
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

test("a secret that looks like a number or a word of JSON is hidden and leaves the record whole", () => {
  const { logging, lines } = openLog("json", ["30", "true"]);
  logging.logger.info({ count: 30, flag: true, text: "30 and true" }, "it is true");
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    level: 30,
    count: 30,
    flag: true,
    text: "******** and ********",
    msg: "it is ********",
  });
});

describe("events", () => {
  test("have ids of UUID version 7 that sort by time", () => {
    const early = uuidv7(1_700_000_000_000);
    expect(early).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(early < uuidv7(1_700_000_000_001)).toBe(true);
  });
});
