// Programs that are cancelled while their worker lets others take the retry.
import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, inject, test } from "vitest";
import { aborted } from "../../src/async/sleep.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { waitFor } from "../support/wait-for.ts";
import { END_TIMEOUT_MS, openPool, untilEnd } from "./programs.ts";

/** A worker that has let the retry of a program that failed, `id`, wait until `release`. */
async function untilReleasing(retry_delay_seconds: number) {
  const go = new AbortController();
  let isReleasing = false;
  const proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: async ({ method, body }) => {
      if (method !== "PATCH" || !body.includes('"reschedule"')) return undefined;
      isReleasing = true;
      await aborted(go.signal);
      return undefined;
    },
  });
  const opened = await openPool({ apiUrl: proxy.apiUrl, args: ["--limit", "1"] });
  const { id } = await opened.run("exit 1", { retries: 1, retry_delay_seconds });
  await waitFor(() => isReleasing, { timeoutMs: END_TIMEOUT_MS, what: "the retry" });
  return {
    ...opened,
    id,
    release: () => go.abort(),
    async [Symbol.asyncDispose]() {
      go.abort();
      await opened[Symbol.asyncDispose]();
      await proxy.stop();
    },
  };
}

describe.concurrent("a flow run whose program failed and that is cancelled before its retry", {
  timeout: 120_000,
}, () => {
  beforeEach(() => needsPrefect("3.1.15", "the note that an engine waits for its retry itself"));

  test("is Cancelled", async () => {
    await using opened = await untilReleasing(60);
    const { api, id } = opened;
    // The server waits for the end of the process, whose id it still has.
    await api.setState(id, "CANCELLING");
    opened.release();
    const { names } = await untilEnd(api, id, "CANCELLED");
    expect(names.slice(-3)).toEqual(["AwaitingRetry", "Cancelling", "Cancelled"]);
  });

  test("is left to another worker that has claimed it", async () => {
    await using opened = await untilReleasing(0);
    const { api, id } = opened;
    const claim = { type: "PENDING", name: "Pending", state_details: { transition_id: randomUUID() } };
    await api.request("POST", `/flow_runs/${id}/set_state`, { state: claim });
    await api.setState(id, "RUNNING");
    await api.setState(id, "CANCELLING");
    opened.release();
    // The slot is free when the worker has finished with it.
    const next = await opened.run("exit 0");
    await untilEnd(api, next.id, "COMPLETED");
    expect((await api.readFlowRun(id)).state_name).toBe("Cancelling");
  });
});
