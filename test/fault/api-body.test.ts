// Answers that are not the API's: a web page with status 200, a body that is not there in full.
import { createServer } from "node:http";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { UndecodableResponseError, UnreachableError } from "../../src/api/errors.ts";
import { listenOnLoopback } from "../support/listen-on-loopback.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { countingRandom, openTestClient, rejectionOf } from "./test-client.ts";

const page: AnswerStep = { headers: { "content-type": "text/html" }, body: "<!doctype html><h1>Sign in</h1>" };
const fine: AnswerStep = { body: { fine: true } };

test("a web page with status 200 is asked for again until the API answers", async () => {
  await using server = await startScriptedServer({ http: { "GET /api/thing": [page, fine] } });
  using api = openTestClient(server.url);
  expect(await api.request("GET", "/thing")).toEqual({ fine: true });
  expect(server.requests).toHaveLength(2);
});

test("web pages for ever are an error that says what came and what to check", async () => {
  await using server = await startScriptedServer({ http: { "GET /api/thing": [{ ...page, always: true }] } });
  using api = openTestClient(server.url, { maxRetries: 1 });
  const error = await rejectionOf(api.request("GET", "/thing"));
  expect(error).toBeInstanceOf(UndecodableResponseError);
  expect((error as Error).message).toMatch(/^GET \/thing: 200 with text\/html that is not JSON.*PREFECT_API_URL/);
  expect(server.requests).toHaveLength(2);
});

test("a web page is no contact with the API: a refused connection after it is final", async () => {
  const waits = countingRandom();
  await using server = await startScriptedServer({ http: { "GET /api/thing": [page, page] } });
  using api = openTestClient(server.url, { maxRetries: 1, random: waits.random });
  await rejectionOf(api.request("GET", "/thing"));
  await server.stop();
  expect(await rejectionOf(api.request("GET", "/thing"))).toMatchObject({ code: "ECONNREFUSED" });
  expect(waits.draws).toBe(1);
});

test("a web page with an error status is told as such and not repeated", async () => {
  await using server = await startScriptedServer({ http: { "GET /api/thing": [{ ...page, status: 404 }] } });
  using api = openTestClient(server.url);
  const error = await rejectionOf(api.request("GET", "/thing"));
  expect(error).toMatchObject({ status: 404 });
  expect((error as Error).message).toMatch(/^GET \/thing: 404 .*a web page, not the Prefect API/);
  expect(server.requests).toHaveLength(1);
});

test("an answer that breaks off half way is asked for again", async () => {
  const cut: AnswerStep = { body: { text: "x".repeat(2000) }, cut: true };
  await using server = await startScriptedServer({ http: { "GET /api/thing": [cut, fine] } });
  using api = openTestClient(server.url);
  expect(await api.request("GET", "/thing")).toEqual({ fine: true });
  expect(server.requests).toHaveLength(2);
});

test("answers that always break off are an UnreachableError that names the server", async () => {
  const cut: AnswerStep = { body: { text: "x".repeat(2000) }, cut: true, always: true };
  await using server = await startScriptedServer({ http: { "GET /api/thing": [cut] } });
  using api = openTestClient(server.url, { maxRetries: 0 });
  const error = await rejectionOf(api.request("GET", "/thing"));
  expect(error).toBeInstanceOf(UnreachableError);
  expect((error as UnreachableError).url).toBe(server.url);
  expect(server.requests).toHaveLength(1);
});

test("an empty 204 is null, a text answer is taken as it is", async () => {
  const http = { "POST /api/empty": [{ status: 204 }], "POST /api/text": [{ body: "not JSON" }] };
  await using server = await startScriptedServer({ http });
  using api = openTestClient(server.url);
  expect(await api.request("POST", "/empty", { body: {} })).toBeNull();
  expect(await api.request("POST", "/text", { body: {}, text: true })).toBe("not JSON");
});

describe("an answer that is packed although nobody asked for it", () => {
  const text = JSON.stringify({ fine: "x".repeat(3000) });
  test.each<[encoding: string, body: Buffer]>([
    ["gzip", gzipSync(text)],
    ["br", brotliCompressSync(text)],
    ["deflate", deflateSync(text)],
    ["deflate", deflateRawSync(text)],
    ["gzip, br", brotliCompressSync(gzipSync(text))],
    ["identity", Buffer.from(text)],
  ])("is unpacked: %s", async (encoding, body) => {
    await using server = await startPacking(encoding, body);
    using api = openTestClient(server.origin);
    expect(await api.request("GET", "/thing")).toEqual(JSON.parse(text));
    expect(server.accepted()).toBe("identity");
  });

  test("and damaged is no answer, not a crash", async () => {
    await using server = await startPacking("gzip", Buffer.from("no gzip"));
    using api = openTestClient(server.origin, { maxRetries: 0 });
    expect(await rejectionOf(api.request("GET", "/thing"))).toBeInstanceOf(UnreachableError);
  });

  test("and too large is not unpacked to its end", async () => {
    await using server = await startPacking("gzip", gzipSync(text));
    using api = openTestClient(server.origin);
    const error = await rejectionOf(api.request("GET", "/thing", { maxBodyBytes: 1000 }));
    expect(error).toMatchObject({ name: "ResponseTooLargeError" });
  });
});

test("60 kB of response headers are read", async () => {
  const headers = Object.fromEntries(Array.from({ length: 60 }, (_, count) => [`x-${count}`, "y".repeat(1000)]));
  await using server = await startScriptedServer({ http: { "GET /api/thing": [{ ...fine, headers }] } });
  using api = openTestClient(server.url);
  expect(await api.request("GET", "/thing")).toEqual({ fine: true });
});

async function startPacking(encoding: string, body: Buffer) {
  let accepted: string | undefined;
  const server = createServer((request, response) => {
    accepted = String(request.headers["accept-encoding"]);
    response.writeHead(200, { "content-type": "application/json", "content-encoding": encoding }).end(body);
  });
  const { origin, stop } = await listenOnLoopback(server);
  return { origin, accepted: () => accepted, [Symbol.asyncDispose]: stop };
}
