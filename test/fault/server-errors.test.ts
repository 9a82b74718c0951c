// Errors of lictor's own HTTP servers after they have begun to listen, such as too many open files.
import http from "node:http";
import { expect, test } from "vitest";
import { listenOnControlSocket } from "../../src/host/control-connection.ts";
import { createInstance } from "../../src/host/instances.ts";
import { listenHttp } from "../../src/status/http-listener.ts";
import { type MetricsSources, startMetricsServer } from "../../src/status/metrics-server.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { capturedLog, messagesFrom } from "./test-client.ts";

const [debug, warning] = [20, 40];

/** The system reports it to the server when a connection cannot be accepted. */
const tooManyFiles = Object.assign(new Error("accept EMFILE"), { code: "EMFILE" });

test("an error of the healthcheck or metrics server is logged, and only the first as a warning", async () => {
  const server = http.createServer((_request, response) => response.end("answered"));
  const captured = capturedLog();
  using listening = await listenHttp(server, { host: "127.0.0.1", port: 0, log: captured.log });
  for (let count = 0; count < 3; count++) server.emit("error", tooManyFiles);
  const where = `127.0.0.1:${listening.port}`;
  expect(messagesFrom(warning, captured)).toEqual([`A connection to ${where} could not be accepted`]);
  expect(messagesFrom(debug, captured)).toHaveLength(3);
  expect(await (await fetch(`http://${where}`)).text()).toBe("answered");
});

test("an error of the control socket is logged", async () => {
  await using temporary = await makeTemporaryDirectory("lictor-state-");
  await using instance = await createInstance(temporary.path);
  const server = http.createServer();
  const captured = capturedLog();
  await listenOnControlSocket(server, instance.directory, captured.log);
  for (let count = 0; count < 3; count++) server.emit("error", tooManyFiles);
  expect(messagesFrom(warning, captured)).toEqual(["A connection to the control socket could not be accepted"]);
  server.close();
});

test("a scrape whose collection fails gets a 500, and the next one is answered", async () => {
  let isBroken = true;
  const eventPublisher = {
    get emittedCount(): number {
      if (isBroken) throw new Error("no count");
      return 7;
    },
    checkpointCount: 0,
    isConnected: false,
  };
  const { log } = capturedLog();
  const machine = { problem: null };
  const sources = { isCloud: false, attemptCounts: new Map(), workers: [], eventPublisher, machine, log };
  using listening = await startMetricsServer(0, sources as unknown as MetricsSources);
  const url = `http://127.0.0.1:${listening.port}/metrics`;
  // A rejection that nobody handles would fail this test, and end the program.
  for (let count = 0; count < 2; count++) {
    const failed = await fetch(url, { signal: AbortSignal.timeout(10_000) });
    expect([failed.status, await failed.text()]).toEqual([500, "no count\n"]);
  }
  isBroken = false;
  const scraped = await fetch(url);
  expect(scraped.status).toBe(200);
  expect(await scraped.text()).toContain('prefect_events_emitted_total{client="PrefectEventsClient"} 7');
});
