// `lictor doctor --sockets`: whether what is between it and the server lets a WebSocket stay open.
import { expect, inject, test } from "vitest";
import { startIdleProxy } from "../support/idle-proxy.ts";
import { runDoctor } from "./run-doctor.ts";

test("sockets that stay open are told of with the time", async () => {
  const startedAt = performance.now();
  const diagnosis = await runDoctor({ PREFECT_API_URL: inject("apiUrl") }, ["--sockets", "1.5"]);
  expect(performance.now() - startedAt).toBeGreaterThan(1_500);
  expect(diagnosis.code).toBe(0);
  for (const route of ["/events/in", "/events/out"]) {
    expect(diagnosis.find(route)).toMatchObject({
      status: "pass",
      message: expect.stringMatching(/ping answered, open for 1\.5 s$/),
    });
  }
});

test("sockets that a proxy ends when they are idle are a warning with its timeout", async () => {
  await using proxy = await startIdleProxy(inject("apiUrl"), 3_000);
  const diagnosis = await runDoctor({ PREFECT_API_URL: `${proxy.url}/api` }, ["--sockets", "20"]);
  expect(diagnosis.code).toBe(0);
  expect(diagnosis.named("warn")).toEqual(["/events/in", "/events/out"]);
  expect(diagnosis.find("/events/out")).toMatchObject({
    message: expect.stringMatching(/, but ended after 3(\.\d)? s, 3(\.\d)? s after the last data$/),
    advice: expect.stringMatching(/ends connections after about 3(\.\d)? s without data: raise its read timeout/),
  });
});
