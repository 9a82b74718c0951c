// The client of the container engine, with an engine that does what a healthy one will not do.
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { jsonLines } from "../../src/api/json-lines.ts";
import { Engine } from "../../src/infrastructure/docker/engine/engine.ts";
import { findEngine } from "../../src/infrastructure/docker/engine/engine-address.ts";
import {
  EngineError,
  EngineUnreachableError,
  isAway,
  isMissing,
} from "../../src/infrastructure/docker/engine/engine-error.ts";
import { Patience } from "../../src/infrastructure/docker/engine/patience.ts";
import { outputLines } from "../../src/infrastructure/docker/engine/streams.ts";
import { type Answer, failure, frame, json, startFakeEngine } from "../support/fake-engine.ts";
import { waitFor } from "../support/wait-for.ts";
import { openFakeDocker } from "./fake-docker.ts";
import { recordingLogger } from "./test-socket.ts";

const clientOf = (host: string, limitMs = 5_000) => new Engine(findEngine({ DOCKER_HOST: host }, "linux"), limitMs);

describe("the client", () => {
  test("asks for the version once and speaks it, and asks again after the engine was away", async () => {
    await using fake = await startFakeEngine({ "GET /info": json({ ID: "x" }) });
    const engine = clientOf(fake.host);
    await Promise.all([engine.request("GET", "/info"), engine.request("GET", "/info")]);
    expect(fake.requests.map(({ path, version }) => [path, version])).toEqual([
      ["/version", undefined],
      ["/info", "1.41"],
      ["/info", "1.41"],
    ]);
    await fake.stop();
    await expect(engine.request("GET", "/info")).rejects.toThrow(EngineUnreachableError);
    fake.answers["GET /version"] = json({ Version: "29.0", ApiVersion: "1.52" });
    await fake.start();
    await engine.request("GET", "/info");
    expect(fake.requests.at(-1)).toMatchObject({ path: "/info", version: "1.52" });
  });

  test("throws the engine's own words in one line", async () => {
    await using fake = await startFakeEngine({ "POST /x": failure(409, "Conflict. It is so.\n") });
    const engine = clientOf(fake.host);
    const error = await engine.request("POST", "/x").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as Error).message).toBe("Conflict. It is so. (POST /x: 409)");
    await expect(engine.open("GET", "/y")).rejects.toThrow("no such path: /y (GET /y: 404)");
  });

  test.each([
    ["unix:///nowhere/docker.sock", /unix:\/\/\/nowhere\/docker.sock \(ENOENT\)\. There is no such socket/],
    ["tcp://127.0.0.1:1", /tcp:\/\/127.0.0.1:1 \(ECONNREFUSED\)\. Nothing listens there/],
  ])("says that nothing is at %s, and what to do", async (host, message) => {
    const engine = clientOf(host);
    await expect(engine.request("GET", "/info")).rejects.toThrow(message);
  });

  test.each<[string, Answer, RegExp]>([
    [
      "JSON of something else",
      json([]),
      /\(no Docker engine\)\. Something else answers there\. Correct DOCKER_HOST\.$/,
    ],
    ["a page", (response) => void response.writeHead(404).end("<html>"), /\(no Docker engine\)\. Something else/],
    [
      "a port for TLS",
      (response) => void response.writeHead(400).end("Client sent an HTTP request to an HTTPS server.\n"),
      /\(400: Client sent an HTTP request to an HTTPS server\)\. It speaks TLS only\. Set DOCKER_TLS_VERIFY=1/,
    ],
    ["a proxy that refuses", failure(403, "Forbidden"), /\(403: Forbidden\)\.$/],
  ])("takes %s for no engine, and that is no verdict", async (_, version, message) => {
    await using fake = await startFakeEngine({ "GET /version": version });
    const error = await clientOf(fake.host)
      .request("GET", "/info")
      .catch((thrown: unknown) => thrown);
    expect((error as Error).message).toMatch(message);
    expect(isAway(error)).toBe(true);
  });

  test.each<[string, Answer, RegExp | null]>([
    ["is not asked again whether it is there if it refuses that", failure(403, "no"), null],
    ["that is sick is away, and the log says so", failure(500, "disk on fire"), /\(500: disk on fire\)/],
  ])("an engine %s", async (_, ping, message) => {
    await using fake = await startFakeEngine({ "GET /_ping": ping });
    using docker = await openFakeDocker(fake);
    const obstacle = await docker.infrastructure.obstacle(() => Promise.reject(new Error("not asked for")));
    if (message === null) expect([obstacle, docker.warnings()]).toEqual([null, []]);
    else
      expect([obstacle, docker.warnings()[0]]).toEqual([
        expect.stringMatching(message),
        expect.stringMatching(message),
      ]);
  });

  test("claims nothing once a call has failed, although the engine answered a moment before", async () => {
    await using fake = await startFakeEngine({ "GET /_ping": json("OK"), "POST /images/create": () => undefined });
    using docker = await openFakeDocker(fake);
    const askAgain = () => docker.infrastructure.obstacle(() => Promise.reject(new Error("not asked for")));
    expect(await askAgain()).toBeNull();
    const end = new AbortController();
    const options = { ...docker.options, signal: end.signal };
    const start = docker.infrastructure.start(docker.jobOf({ image: "x" }), options).catch((thrown: unknown) => thrown);
    await fake.stop();
    await waitFor(() => docker.warnings().length > 0, { timeoutMs: 10_000, what: "the warning" });
    expect(await askAgain()).toMatch(/Cannot reach the Docker engine/);
    await fake.start();
    await waitFor(() => docker.records.some(({ msg }) => /answers again, after/.test(msg)), {
      timeoutMs: 10_000,
      what: "the engine",
    });
    expect(await askAgain()).toBeNull();
    end.abort("enough");
    expect(await start).toBe("enough");
  });

  test("gives up on an engine that does not answer, before and after the head of the response", async () => {
    await using fake = await startFakeEngine({
      "GET /silent": () => {},
      "GET /half": (response) => void response.writeHead(200).write("{"),
    });
    const engine = clientOf(fake.host, 200);
    for (const path of ["/silent", "/half"]) {
      const error = await engine.request("GET", path).catch((thrown: unknown) => thrown);
      expect(isAway(error)).toBe(true);
      expect((error as Error).message).toContain("(no answer in time)");
    }
  });

  test("ends a call and a stream with the reason of its signal", async () => {
    await using fake = await startFakeEngine({
      "GET /silent": () => {},
      "GET /stream": (response) => void response.writeHead(200).write("{}\n"),
    });
    const engine = clientOf(fake.host);
    const end = new AbortController();
    const silent = engine.request("GET", "/silent", { signal: end.signal }).catch((thrown: unknown) => thrown);
    const stream = await engine.open("GET", "/stream", { signal: end.signal });
    const read = (async () => {
      for await (const line of jsonLines(stream)) expect(line).toEqual({});
    })().catch((thrown: unknown) => thrown);
    await delay(50);
    end.abort("enough");
    expect(await silent).toBe("enough");
    expect(await read).toBeInstanceOf(Error);
    expect(await engine.request("GET", "/silent", { signal: end.signal }).catch((thrown: unknown) => thrown)).toBe(
      "enough",
    );
  });

  test("knows a missing container by Docker's status and by Podman's words", () => {
    expect(isMissing(new EngineError(404, "No such container: x", "GET /x"))).toBe(true);
    expect(isMissing(new EngineError(500, "x does not exist in database: no such container", "GET /x"))).toBe(true);
    expect(isMissing(new EngineError(500, "disk on fire", "GET /x"))).toBe(false);
  });
});

describe("streams", () => {
  async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }

  test.each([1, 3, 7, 1000])("output in pieces of %i bytes has its lines and streams", async (size) => {
    const bytes = Buffer.concat([frame(1, "one\ntw"), frame(2, "err ü\n"), frame(1, "o\n"), frame(1, "rest")]);
    const lines = [];
    for await (const line of outputLines(inPieces(bytes, size), { isRaw: false, hasTimes: false })) lines.push(line);
    expect(lines).toEqual([
      { stream: "stdout", text: "one" },
      { stream: "stderr", text: "err ü" },
      { stream: "stdout", text: "two" },
      { stream: "stdout", text: "rest" },
    ]);
  });

  test.each([1, 7, 1000])("a long line that the engine cut has one time, in pieces of %i bytes", async (size) => {
    const time = "2026-01-02T03:04:05.000000000";
    const bytes = Buffer.concat([
      ...[frame(1, `${time}Z one `), frame(2, `${time}Z other\n`)],
      ...[frame(1, `${time}+01:00 two `), frame(1, `${time}Z three\n`), frame(1, `${time}Z four\n`)],
      ...[frame(1, ""), frame(1, `${time}Z `), frame(1, `${time}Z five\n`), frame(1, `${time}Z x`), frame(1, "y z\n")],
    ]);
    const lines = [];
    for await (const line of outputLines(inPieces(bytes, size), { isRaw: false, hasTimes: true }))
      lines.push(line.text);
    expect(lines).toEqual([
      ...[`${time}Z other`, `${time}Z one two three`, `${time}Z four`, `${time}Z five`, `${time}Z xy z`],
    ]);
  });

  test("output of a terminal has no frames", async () => {
    const form = { isRaw: true, hasTimes: false };
    const lines = [];
    for await (const { text } of outputLines(inPieces(Buffer.from("a\r\nb\r\n"), 2), form)) lines.push(text);
    expect(lines).toEqual(["a", "b"]);
  });

  test.each([1, 5])("JSON lines in pieces of %i bytes", async (size) => {
    const objects = [];
    for await (const each of jsonLines(inPieces(Buffer.from('{"a":"ü"}\r\n\n{"b":2}'), size))) objects.push(each);
    expect(objects).toEqual([{ a: "ü" }, { b: 2 }]);
  });
});

describe("while the engine is away", () => {
  test("a call is repeated, and the log says once that it is away and once that it is back", async () => {
    await using fake = await startFakeEngine({ "GET /info": json({ ID: "x" }) });
    const engine = clientOf(fake.host);
    const { log, records } = recordingLogger();
    const patience = new Patience(log);
    await fake.stop();
    const call = () =>
      patience.whileAway(() => engine.request<{ ID: string }>("GET", "/info"), new AbortController().signal);
    const calls = Promise.all([call(), call(), call()]);
    await delay(700);
    expect(patience.problem).toContain("ENOENT");
    await fake.start();
    expect(await calls).toEqual([{ ID: "x" }, { ID: "x" }, { ID: "x" }]);
    expect(patience.problem).toBeNull();
    expect(records.map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/^Cannot reach the Docker engine at .* Flow runs stay as they are until it answers again/),
      expect.stringMatching(/^The Docker engine answers again, after \d+ s\.$/),
    ]);
  });

  test("a refusal is not repeated, and a signal ends the wait", async () => {
    await using fake = await startFakeEngine({ "POST /x": failure(400, "no") });
    const engine = clientOf(fake.host);
    const { log } = recordingLogger();
    const patience = new Patience(log);
    const end = new AbortController();
    await expect(patience.whileAway(() => engine.request("POST", "/x"), end.signal)).rejects.toThrow(
      "no (POST /x: 400)",
    );
    await fake.stop();
    const waiting = patience
      .whileAway(() => engine.request("POST", "/x"), end.signal)
      .catch((thrown: unknown) => thrown);
    await delay(100);
    end.abort("enough");
    expect(await waiting).toBe("enough");
    await fake.start();
  });
});
