// What leaves the program beside states: log lines, log records for the API, events.
import { describe, expect, test } from "vitest";
import type { ApiClient } from "../../src/api/client.ts";
import { LogShipper } from "../../src/api/log-shipper.ts";
import type { LogRecord } from "../../src/api/wire.ts";
import { createLogging, type LogFormat } from "../../src/logger.ts";
import { slugify, uuidv7 } from "../../src/run/worker-events.ts";

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

describe("the log shipper", () => {
  const record = (message: string): LogRecord => ({
    name: "prefect.flow_runs.worker",
    level: 20,
    message,
    timestamp: "2026-01-01T00:00:00.000Z",
    flow_run_id: null,
    task_run_id: null,
  });

  /** A shipper whose batches are collected; `answer` may refuse. */
  function open(answer: () => void = () => {}, options = { batchIntervalMs: 1, batchBytes: 4000, maxLogBytes: 1000 }) {
    const batches: LogRecord[][] = [];
    const complaints: string[] = [];
    const request = async (_method: string, _path: string, { body }: { body: LogRecord[] }): Promise<null> => {
      answer();
      batches.push(body);
      return null;
    };
    const shipper = new LogShipper({ request } as unknown as ApiClient, options, (message) => complaints.push(message));
    return { shipper, batches, complaints };
  }
  const forever = new AbortController().signal;

  test("sends batches that leave room for one more of the largest", async () => {
    const { shipper, batches } = open();
    for (let count = 0; count < 10; count++) shipper.ship(record("x".repeat(600)));
    await shipper.flush(forever);
    expect(batches.flat()).toHaveLength(10);
    for (const batch of batches) expect(Buffer.byteLength(JSON.stringify(batch))).toBeLessThanOrEqual(4000);
  });

  test("cuts a message that is too long and marks it, at a whole character", async () => {
    const { shipper, batches } = open();
    shipper.ship(record("ä".repeat(2000)));
    await shipper.flush(forever);
    const [sent] = batches.flat();
    expect(sent?.message).toMatch(/^ä+\.\.\. \[truncated\]$/);
    expect(Buffer.byteLength(JSON.stringify(sent))).toBeLessThanOrEqual(1000);
  });

  test("drops the oldest beyond 10,000 while the server is away, and says so once", async () => {
    const { shipper, batches, complaints } = open();
    for (let count = 0; count < 10_005; count++) shipper.ship(record(String(count)));
    await shipper.flush(forever);
    expect(batches.flat()).toHaveLength(10_000);
    expect(batches.flat()[0]?.message).toBe("5");
    expect(complaints).toHaveLength(1);
  });

  test("loses what the server refuses, says so, and goes on", async () => {
    let refusals = 1;
    const { shipper, batches, complaints } = open(() => {
      if (refusals-- > 0) throw new Error("422");
    });
    shipper.ship(record("a"));
    await shipper.flush(forever);
    shipper.ship(record("b"));
    await shipper.flush(forever);
    expect(batches.flat().map(({ message }) => message)).toEqual(["b"]);
    expect(complaints).toEqual(["1 log records could not be sent to the API: 422"]);
  });
});

describe("events", () => {
  test.each([
    ["ProcessWorker 1", "processworker-1"],
    ["  Ünïcode / Näme!! ", "unicode-name"],
    ["a__b..c", "a-b-c"],
  ])("name the worker %j %j", (name, slug) => {
    expect(slugify(name)).toBe(slug);
  });

  test("have ids of UUID version 7 that sort by time", () => {
    const early = uuidv7(1_700_000_000_000);
    expect(early).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(early < uuidv7(1_700_000_000_001)).toBe(true);
  });
});
