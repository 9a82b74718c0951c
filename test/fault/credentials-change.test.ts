// Credentials that the server does not take any more, while there are others to go on with.
import { describe, expect, test } from "vitest";
import { Credentials } from "../../src/api/credentials.ts";
import type { Authorization } from "../../src/settings/connection.ts";
import { connectSocket } from "../../src/sockets/connect.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { bearer, openTestClient, rejectionOf } from "./test-client.ts";
import { socketAddress, untilTheEnd } from "./test-socket.ts";

const refused: AnswerStep = { status: 401, body: { exception_message: "Unauthorized" } };
const fine: AnswerStep = { body: { fine: true } };
const basic: Authorization = {
  kind: "basic",
  header: "Basic dXNlcjpwYXNz",
  token: "user:pass",
  origin: "PREFECT_API_AUTH_STRING from the environment",
};

/** Credentials of a key that is found to be another one when it is read again. */
function rotated(from: string, to: string): { credentials: Credentials; said: string[] } {
  const said: string[] = [];
  const reload = () => ({ authorization: bearer(to), fallback: null });
  const credentials = new Credentials({ authorization: bearer(from), fallback: null }, reload, (message) =>
    said.push(message),
  );
  return { credentials, said };
}

const startServer = (...steps: AnswerStep[]) => startScriptedServer({ http: { "POST /api/thing": steps } });

describe("after a 401", () => {
  test("a secret that was rotated is read again and the request repeated with it", async () => {
    const { credentials, said } = rotated("old-secret", "new-secret");
    await using server = await startServer(refused, fine, fine);
    using api = openTestClient(server.url, { credentials });
    expect(await api.request("POST", "/thing", { body: { a: 1 } })).toEqual({ fine: true });
    await api.request("POST", "/thing", { body: { a: 2 } });
    expect(server.requests.map(({ headers, body }) => [headers.authorization, body])).toEqual([
      ["Bearer old-secret", '{"a":1}'],
      ["Bearer new-secret", '{"a":1}'],
      ["Bearer new-secret", '{"a":2}'],
    ]);
    expect(said).toHaveLength(1);
    expect(said.join()).not.toMatch(/old-secret|new-secret/);
  });

  test("requests at the same time learn of the new secret from each other", async () => {
    const { credentials, said } = rotated("old-secret", "new-secret");
    await using server = await startServer(refused, refused, fine, fine);
    using api = openTestClient(server.url, { credentials });
    await Promise.all([1, 2].map((n) => api.request("POST", "/thing", { body: { n } })));
    const sent = server.requests.map(({ headers }) => headers.authorization);
    expect(sent.filter((header) => header === "Bearer new-secret")).toHaveLength(2);
    expect(said).toHaveLength(1);
  });

  test("a key that a server does not know gives way to the auth string", async () => {
    const credentials = new Credentials({ authorization: bearer("some-key"), fallback: basic });
    await using server = await startServer(refused, fine);
    using api = openTestClient(server.url, { credentials });
    expect(await api.request("POST", "/thing", { body: {} })).toEqual({ fine: true });
    expect(server.requests[1]?.headers.authorization).toBe(basic.header);
  });

  test("a secret in a file that is being written, or comes late, is waited for", async () => {
    const read = (key: string) => ({ authorization: bearer(key), fallback: null, isInFile: true });
    // Empty, cut short, as before, and at last the new one.
    const reads = [undefined, read("old-secret"), read("new-sec"), undefined, read("new-secret")];
    const said: string[] = [];
    const credentials = new Credentials(
      read("old-secret"),
      () => (reads.length > 1 ? reads.shift() : reads[0]),
      (message) => said.push(message),
    );
    await using server = await startServer(fine, refused, refused, fine);
    using api = openTestClient(server.url, { credentials });
    for (const a of [1, 2]) await api.request("POST", "/thing", { body: { a } });
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      "Bearer old-secret",
      "Bearer old-secret",
      "Bearer new-sec",
      "Bearer new-secret",
    ]);
    const origin = 'PREFECT_API_KEY from profile "prod"';
    expect(said).toEqual([
      `The server refused ${origin}; waiting 60 s for a new one.`,
      `The server refused ${origin}; going on with its new value.`,
      `The server refused ${origin}; waiting 60 s for a new one.`,
      `The server refused ${origin}; going on with its new value.`,
    ]);
  });

  test("a secret in a file that the server never took is not waited for, nor is one when the worker stops", async () => {
    const credentials = new Credentials({ authorization: bearer("wrong"), fallback: null, isInFile: true });
    await using server = await startServer(refused, fine, refused);
    using api = openTestClient(server.url, { credentials });
    await expect(api.request("POST", "/thing", { body: {} })).rejects.toThrow("401");
    await api.request("POST", "/thing", { body: {} });
    const stop = new AbortController();
    const asking = api.request("POST", "/thing", { body: {}, signal: stop.signal });
    setTimeout(() => stop.abort(new Error("stopped")), 600);
    await expect(asking).rejects.toThrow("stopped");
  });

  test("a secret in a file is read again for all that wait at once, not by each of them", async () => {
    const read = (key: string) => ({ authorization: bearer(key), fallback: null, isInFile: true });
    let reads = 0;
    const said: string[] = [];
    const credentials = new Credentials(
      read("old-secret"),
      () => read(++reads < 6 ? "old-secret" : "new-secret"),
      (message) => said.push(message),
    );
    let isRotated = false;
    await using server = await startServer(
      fine,
      ...Array.from({ length: 200 }, () => ({
        get status() {
          isRotated ||= server.requests.some(({ headers }) => headers.authorization === "Bearer new-secret");
          return isRotated ? 200 : 401;
        },
        body: { fine: true },
      })),
    );
    using api = openTestClient(server.url, { credentials });
    const post = () => api.request("POST", "/thing", { body: {} });
    await post();
    const answers = await Promise.all(Array.from({ length: 50 }, post));
    expect(answers).toEqual(Array.from({ length: 50 }, () => ({ fine: true })));
    expect(reads).toBeLessThanOrEqual(7);
    expect(said).toHaveLength(2);
  });

  test("with nothing left the error names what was sent last", async () => {
    const credentials = new Credentials({ authorization: bearer("some-key"), fallback: basic });
    await using server = await startServer({ ...refused, always: true });
    using api = openTestClient(server.url, { credentials });
    const error = (await rejectionOf(api.request("POST", "/thing", { body: {} }))) as Error;
    expect(error.message).toContain("Sent Basic with PREFECT_API_AUTH_STRING from the environment");
    expect(server.requests).toHaveLength(2);
  });
});

test("a socket whose token is refused is opened with the new one the next time", async () => {
  const { credentials } = rotated("old-secret", "new-secret");
  const tokens: (string | null)[] = [];
  await using server = await startScriptedServer({
    sockets: {
      "/api/events/in": [
        {
          async play(socket) {
            tokens.push((await socket.next<{ token: string }>()).token);
            socket.close(1008, "Invalid token");
          },
        },
        {
          async play(socket) {
            tokens.push((await socket.acceptAuth()).token);
          },
        },
      ],
    },
  });
  const open = () =>
    connectSocket(socketAddress(server.url, { credentials }), "/events/in", { inBand: true, signal: untilTheEnd });
  expect(await rejectionOf(open())).toMatchObject({ details: { code: 1008 } });
  using _socket = await open();
  expect(tokens).toEqual(["old-secret", "new-secret"]);
});
