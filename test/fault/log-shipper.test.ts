// Log records on their way to an API that is away, refuses them, or takes them slowly.
import { describe, expect, test } from "vitest";
import { LogShipper, type LogShipperOptions } from "../../src/api/log-shipper.ts";
import type { LogRecord } from "../../src/api/wire.ts";
import { LinkedController } from "../../src/async/linked-controller.ts";
import { type AnswerStep, type ScriptedServer, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openTestClient } from "./test-client.ts";

const hourMs = 3_600_000;
const taken: AnswerStep = { status: 201, body: null, always: true };
const forever = new AbortController().signal;

function record(message: string, flowRunId: string | null = "00000000-0000-4000-8000-000000000001"): LogRecord {
  return {
    name: "prefect.flow_runs.worker",
    level: 20,
    message,
    timestamp: "2026-01-01T00:00:00.000Z",
    flow_run_id: flowRunId,
    task_run_id: null,
  };
}

/** A shipper whose server gives these answers, and then takes everything. */
async function open(answers: AnswerStep[] = [], changes: Partial<LogShipperOptions> = {}) {
  const server = await startScriptedServer({ http: { "POST /api/logs/": [...answers, taken] } });
  const client = openTestClient(server.url, { maxRetries: 0 });
  const complaints: string[] = [];
  const options = {
    batchIntervalMs: hourMs,
    batchBytes: 4000,
    maxLogBytes: 1000,
    maxQueueBytes: 100_000,
    ...changes,
  };
  const shipper = new LogShipper(client, options, (message) => complaints.push(message));
  return {
    shipper,
    complaints,
    server,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const bodies = ({ requests }: ScriptedServer): string[] => requests.map(({ body }) => body);
const messages = (server: ScriptedServer): string[] =>
  bodies(server).flatMap((body) => (JSON.parse(body) as LogRecord[]).map(({ message }) => message));

describe("log records", () => {
  test("go out in batches that stay within the batch size", async () => {
    await using log = await open();
    const all = Array.from({ length: 10 }, (_, count) => String(count).repeat(600));
    for (const message of all) log.shipper.ship(record(message));
    await log.shipper.flush(forever);
    expect(messages(log.server)).toEqual(all);
    expect(bodies(log.server).length).toBeGreaterThan(1);
    for (const body of bodies(log.server)) expect(Buffer.byteLength(body)).toBeLessThanOrEqual(4000);
  });

  test("that make half a batch do not wait for the interval", async () => {
    await using log = await open();
    const stop = new AbortController();
    const running = log.shipper.run(stop.signal);
    for (let count = 0; count < 5; count++) log.shipper.ship(record("x".repeat(600)));
    await waitFor(() => messages(log.server).length > 0, { timeoutMs: 5000, what: "a batch" });
    stop.abort();
    await running;
  });

  test.each([
    ["two-byte characters", "ä".repeat(2000)],
    ["surrogate pairs", "😀".repeat(1000)],
    ["characters that JSON escapes", '\n"\u0001'.repeat(1000)],
  ])("too long for the API are cut at a whole character and marked: %s", async (_, message) => {
    await using log = await open();
    log.shipper.ship(record(message));
    await log.shipper.flush(forever);
    const [sent = ""] = messages(log.server);
    expect(sent.endsWith("... [truncated]")).toBe(true);
    expect(message.startsWith(sent.slice(0, -"... [truncated]".length))).toBe(true);
    expect(Buffer.from(sent).toString()).toBe(sent);
    const bytes = Buffer.byteLength(bodies(log.server)[0] ?? "") - 2;
    expect(bytes).toBeLessThanOrEqual(1000);
    expect(bytes).toBeGreaterThan(990);
  });

  test("go out at most 1,000 at once, and as much time as a batch took is left to other requests", async () => {
    const slow: AnswerStep = { status: 201, body: null, delayMs: 400 };
    await using log = await open([slow, slow], { batchBytes: 1_000_000, maxQueueBytes: 1_000_000 });
    for (let index = 0; index < 2_500; index++) log.shipper.ship(record(String(index)));
    const startedAt = performance.now();
    await log.shipper.flush(forever);
    expect(bodies(log.server).map((body) => (JSON.parse(body) as LogRecord[]).length)).toEqual([1_000, 1_000, 500]);
    // Two batches of 400 ms and two pauses.
    expect(performance.now() - startedAt).toBeGreaterThan(1_500);
  });

  test("of the worker that are too long are lost, with a word", async () => {
    await using log = await open();
    log.shipper.ship(record("x".repeat(2000), null));
    log.shipper.ship(record("short", null));
    await log.shipper.flush(forever);
    expect(messages(log.server)).toEqual(["short"]);
    expect(log.complaints).toEqual([
      expect.stringMatching(/^A log record of 21\d\d bytes was not sent to the API, which takes 1000\.$/),
    ]);
  });

  test("wait while the API is away, which is said once, and arrive in their order", async () => {
    await using log = await open([{ status: 503 }, { status: 502 }, { body: "<html>", status: 200 }]);
    for (const message of ["a", "b", "c"]) {
      log.shipper.ship(record(message));
      await log.shipper.flush(forever);
    }
    expect(log.complaints).toEqual([
      expect.stringMatching(/^Log records wait because the API does not take them: .*503/),
    ]);
    await log.shipper.flush(forever);
    expect(JSON.parse(bodies(log.server).at(-1) ?? "")).toMatchObject([
      { message: "a" },
      { message: "b" },
      { message: "c" },
    ]);
    expect(log.complaints).toHaveLength(1);
  });

  test("beyond what may wait are dropped, oldest first, and counted when the API is back", async () => {
    await using log = await open([{ status: 503 }]);
    log.shipper.ship(record("first"));
    await log.shipper.flush(forever);
    for (let count = 0; count < 500; count++) log.shipper.ship(record(`${count} ${"x".repeat(300)}`));
    await log.shipper.flush(forever);
    const arrived = messages(log.server).slice(1);
    expect(arrived.at(-1)).toMatch(/^499 /);
    expect(arrived.length).toBeLessThan(400);
    expect(arrived.map((message) => Number.parseInt(message, 10))).toEqual(
      arrived.map((_, index) => index + 500 - arrived.length),
    );
    expect(log.complaints.slice(1)).toEqual([
      "Too many log records wait for the API; the oldest are dropped.",
      `${501 - arrived.length} log records were dropped while the API was away.`,
    ]);
  });

  test("that the API declines are lost, with a word, and the next ones are not", async () => {
    await using log = await open([{ status: 422, body: { detail: "no" } }]);
    log.shipper.ship(record("refused"));
    await log.shipper.flush(forever);
    log.shipper.ship(record("taken"));
    await log.shipper.flush(forever);
    expect(JSON.parse(bodies(log.server).at(-1) ?? "")).toMatchObject([{ message: "taken" }]);
    expect(log.complaints).toEqual([expect.stringMatching(/^1 log records could not be sent to the API: .*422/)]);
  });

  test.each([401, 403, 500, 504])("that meet a %i are sent again, all of them", async (status) => {
    const failure = { status, body: { detail: "no" } };
    await using log = await open([failure, failure, failure]);
    for (const message of ["a", "b", "c", "d"]) log.shipper.ship(record(message));
    for (let turn = 0; turn < 4; turn++) await log.shipper.flush(forever);
    const taken = bodies(log.server)
      .slice(3)
      .flatMap((body) => JSON.parse(body) as LogRecord[]);
    expect(taken.map(({ message }) => message).sort()).toEqual(["a", "b", "c", "d"]);
    expect(log.complaints).toHaveLength(1);
  });

  test("of which one makes the server fail are taken but for that one, which is lost with a word", async () => {
    await using log = await open(
      Array.from({ length: 40 }, () => ({
        get status() {
          return bodies(log.server).at(-1)?.includes("poison") ? 500 : 201;
        },
        body: { detail: "no" },
      })),
    );
    for (const message of ["a", "b", "poison", "c", "d"]) log.shipper.ship(record(message));
    for (let turn = 0; turn < 8; turn++) await log.shipper.flush(forever);
    const good = bodies(log.server).filter((body) => !body.includes("poison"));
    expect(good.flatMap((body) => JSON.parse(body) as LogRecord[]).map(({ message }) => message)).toEqual(
      expect.arrayContaining(["a", "b", "c", "d"]),
    );
    expect(log.complaints.at(-1)).toMatch(/^1 log records could not be sent to the API: .*500/);
    await log.shipper.finish(AbortSignal.timeout(5000));
    expect(log.complaints.filter((complaint) => complaint.includes("were not sent"))).toEqual([]);
  });

  test("too large for a proxy go out in smaller batches, for good, and none is lost", async () => {
    const limit = 1500;
    await using log = await open(
      Array.from({ length: 40 }, () => ({
        get status() {
          return (bodies(log.server).at(-1)?.length ?? 0) > limit ? 413 : 201;
        },
        body: null,
      })),
    );
    const all = Array.from({ length: 10 }, (_, count) => String(count).repeat(300));
    for (const message of all) log.shipper.ship(record(message));
    await log.shipper.flush(forever);
    const taken = bodies(log.server).filter((body) => body.length <= limit);
    expect(taken.flatMap((body) => JSON.parse(body) as LogRecord[]).map(({ message }) => message)).toEqual(all);
    const refused = bodies(log.server).length - taken.length;
    expect(log.complaints).toHaveLength(refused);
    expect(log.complaints[0]).toMatch(/does not take \d+ bytes of log records at once \(413\)/);
    log.shipper.ship(record("later"));
    await log.shipper.flush(forever);
    expect(log.complaints).toHaveLength(refused);
  });

  test("larger than a proxy takes are lost one by one, with a word", async () => {
    await using log = await open([{ status: 413, body: "" }]);
    log.shipper.ship(record("large"));
    await log.shipper.flush(forever);
    expect(log.complaints).toEqual([expect.stringMatching(/^1 log records could not be sent to the API: .*413/)]);
  });

  test("that are on their way when the worker ends are waited for, and not sent twice", async () => {
    await using log = await open([{ status: 201, body: null, delayMs: 300 }]);
    log.shipper.ship(record("on its way"));
    const sending = log.shipper.flush(forever);
    await waitFor(() => bodies(log.server).length === 1, { timeoutMs: 5000, what: "the first batch" });
    log.shipper.ship(record("last"));
    await log.shipper.finish(AbortSignal.timeout(5000));
    expect(messages(log.server)).toEqual(["on its way", "last"]);
    expect(log.complaints).toEqual([]);
    await sending;
  });

  test("that somebody waits for are sent soon, and the wait ends when they were taken or given up", async () => {
    await using log = await open([{ status: 422, body: null }]);
    using running = new LinkedController(forever);
    const run = log.shipper.run(running.signal);
    log.shipper.ship(record("refused"));
    await log.shipper.settled({ soon: true });
    expect(log.complaints).toHaveLength(1);
    log.shipper.ship(record("one"));
    const unhurried = log.shipper.settled();
    log.shipper.ship(record("two"));
    await log.shipper.settled({ soon: true });
    await unhurried;
    expect(messages(log.server)).toEqual(["refused", "one", "two"]);
    await log.shipper.settled();
    running.abort();
    await run;
  });

  test("that the API does not take before the worker has to end are counted", async () => {
    await using log = await open([{ status: 503, always: true }]);
    log.shipper.ship(record("lost"));
    await log.shipper.finish(AbortSignal.timeout(5000));
    expect(log.complaints).toEqual([
      expect.stringMatching(/^Log records wait because the API does not take them: .*503/),
      "1 log records were not sent to the API, which did not take them in time.",
    ]);
  });
});
