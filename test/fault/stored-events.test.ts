// Events that a server has accepted and its broker has lost.
import { expect, test } from "vitest";
import { StoredEvents } from "../../src/sockets/stored-events.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openTestClient } from "./test-client.ts";
import { event, recordingLogger } from "./test-socket.ts";

const stored = (...ids: string[]): AnswerStep => ({ body: { events: ids.map((id) => ({ id })), total: ids.length } });

/** Observes "a" and "b" with short times on a server that gives these answers to `POST /events/filter`. */
async function observe(filter: AnswerStep[]) {
  const http = { "POST /api/events/filter": filter, "POST /api/events": [{ status: 204, always: true as const }] };
  const server = await startScriptedServer({ http });
  const { log, warnings, records } = recordingLogger();
  const api = openTestClient(server.url, { maxRetries: 0 });
  const events = new StoredEvents(api, log, { settledMs: 10, intervalMs: 30 });
  events.observe([event("a"), event("b")]);
  const stop = new AbortController();
  let isEnded = false;
  const ended = events.run(stop.signal).then(() => {
    isEnded = true;
  });
  return {
    server,
    warnings,
    records,
    isEnded: () => isEnded,
    count: (path: string) => server.requests.filter((request) => request.path === path).length,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
      api[Symbol.dispose]();
      await server.stop();
    },
  };
}

const soon = { timeoutMs: 5_000, intervalMs: 5 };

test("those that are missing are sent again once, with their ids, and that is one warning", async () => {
  await using observed = await observe([stored("b"), stored("a")]);
  await waitFor(() => observed.count("/api/events/filter") === 2, { ...soon, what: "the second look" });
  const posts = observed.server.requests.filter(({ path }) => path === "/api/events");
  expect(posts.map(({ body }) => (JSON.parse(body) as { id: string }[]).map(({ id }) => id))).toEqual([["a"]]);
  const [, again] = observed.server.requests.filter(({ path }) => path === "/api/events/filter");
  expect(JSON.parse(again?.body ?? "")).toEqual({ filter: { id: { id: ["a"] } }, limit: 1 });
  expect(observed.warnings()).toEqual([expect.stringContaining("The server had lost 1 of 2 worker events")]);
  expect(observed.server.errors).toEqual([]);
});

test("a server that stores no events at all is not asked for ever, and that is no warning", async () => {
  await using observed = await observe([{ ...stored(), always: true }]);
  await waitFor(observed.isEnded, { ...soon, what: "the end of the looks" });
  expect(observed.count("/api/events/filter")).toBe(2);
  expect(observed.warnings()).toEqual([]);
});

test("a server that lets nobody read events is asked once", async () => {
  await using observed = await observe([{ status: 403, body: {} }]);
  await waitFor(observed.isEnded, { ...soon, what: "the end of the looks" });
  expect(observed.count("/api/events/filter")).toBe(1);
  expect(observed.warnings()).toEqual([]);
});
