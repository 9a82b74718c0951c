// What `lictor doctor` says when something other than the Prefect API answers, or answers only some requests.
import { describe, expect, inject, test } from "vitest";
import { startTlsServer } from "../fault/tls-server.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { runDoctor } from "./run-doctor.ts";

test("http:// to a port that speaks TLS is recognised by a handshake", async () => {
  await using server = await startTlsServer();
  const origin = server.origin.replace("https:", "http:");
  const diagnosis = await runDoctor({ PREFECT_API_URL: `${origin}/api` });
  expect(diagnosis.named("fail")).toEqual(["health"]);
  expect(diagnosis.find("health").advice).toBe(
    `This port speaks TLS (HTTPS), and PREFECT_API_URL begins with http://. Set PREFECT_API_URL=${origin.replace("http:", "https:")}/api`,
  );
});

test("the title of a web page is shown instead of a promise of words", async () => {
  const body = "<html><head><title>400 Request Header Or Cookie Too Large</title></head></html>";
  const page = { status: 400, headers: { "content-type": "text/html", server: "nginx/1.22.1" }, body };
  await using server = await startScriptedServer({ http: { "GET /api/health": [page] } });
  const { message, advice } = (await runDoctor({ PREFECT_API_URL: `${server.url}/api` })).find("health");
  expect(message).toBe('GET /health: 400 (a web page, not the Prefect API: "400 Request Header Or Cookie Too Large")');
  expect(advice).toBe("These are the words of nginx/1.22.1.");
});

describe("a proxy that refuses large requests", () => {
  // As nginx does by default.
  const limit = ({ body }: { body: string }) =>
    body.length > 1_048_576 ? { status: 413, headers: { server: "nginx" }, body: "" } : undefined;

  test("is a warning that names its setting and lictor's", async () => {
    await using proxy = await startReverseProxy(inject("apiUrl"), { onRequest: limit });
    const diagnosis = await runDoctor({ PREFECT_API_URL: proxy.apiUrl });
    expect(diagnosis.code).toBe(0);
    expect(diagnosis.find("body limit")).toMatchObject({
      status: "warn",
      message: "a request of 1.1 MB is refused (413) by nginx",
      advice: expect.stringMatching(/client_max_body_size 5m.*PREFECT_LOGGING_TO_API_BATCH_SIZE=900000/),
    });
  });

  test("over a larger limit is found out too", async () => {
    const onRequest = ({ body }: { body: string }) =>
      body.length > 2_000_000 ? { status: 413, headers: {}, body: "" } : undefined;
    await using proxy = await startReverseProxy(inject("apiUrl"), { onRequest });
    const { message } = (await runDoctor({ PREFECT_API_URL: proxy.apiUrl })).find("body limit");
    expect(message).toBe("a request of 4.0 MB is refused (413)");
  });

  test("that hangs over them costs no more than its own time", async () => {
    const onRequest = ({ body }: { body: string }) =>
      body.length > 2_000_000 ? new Promise<undefined>(() => {}) : undefined;
    await using proxy = await startReverseProxy(inject("apiUrl"), { onRequest });
    const diagnosis = await runDoctor({ PREFECT_API_URL: proxy.apiUrl });
    expect(diagnosis.code).toBe(0);
    expect(diagnosis.find("body limit").message).toBe(
      "a request of 1.1 MB arrives; larger ones were not tried in time",
    );
  });

  test("is none where batches are smaller", async () => {
    await using proxy = await startReverseProxy(inject("apiUrl"), { onRequest: limit });
    const diagnosis = await runDoctor({
      PREFECT_API_URL: proxy.apiUrl,
      PREFECT_LOGGING_TO_API_BATCH_SIZE: "900000",
      PREFECT_LOGGING_TO_API_MAX_LOG_SIZE: "800000",
    });
    expect(diagnosis.find("body limit")).toMatchObject({ status: "pass", message: "a request of 0.9 MB arrives" });
  });
});
