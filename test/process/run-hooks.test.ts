// The process that runs hooks: when it gives up, and how it is ended.
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { describe, expect, inject, test } from "vitest";
import { reachesSameServer } from "../../src/program/hook-script.ts";
import { type HookProcessOptions, runHookProcess, runHooks } from "../../src/program/run-hooks.ts";
import { startTlsServer } from "../fault/tls-server.ts";
import { inCheckout } from "../support/checkout.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { findFreePort } from "../support/free-port.ts";
import { pidsWithEnvironment } from "../support/processes.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";

const never = new AbortController().signal;
/** A Python with Prefect starts in 2 to 10 s here, and a server that nobody knows gets 5 s. */
const SOON_MS = 60_000;

/** Runs the hooks of some flow run by this API; when that takes too long, ends them. */
async function runHooksBy(apiUrl: string, serverIsKnown: boolean) {
  await using home = await makeTemporaryDirectory("lictor-hooks-");
  await runHooks([inject("python")], {
    kind: "crashed",
    flowRun: { id: randomUUID() },
    state: { type: "CRASHED" },
    cwd: home.path,
    env: cleanEnvironment({ HOME: home.path, PREFECT_API_URL: apiUrl }),
    output: "ignore",
    end: AbortSignal.timeout(SOON_MS),
    leave: never,
    serverIsKnown,
  });
}

describe("hooks give up within seconds", { concurrent: true }, () => {
  test("when an address refuses connections at which nobody has seen the server", async () => {
    const apiUrl = `http://127.0.0.1:${await findFreePort()}/api`;
    await expect(runHooksBy(apiUrl, false)).rejects.toThrow("the hook process ended with 1");
  });

  test("when the server's certificate is not trusted, also by a server that the worker reaches", async () => {
    await using server = await startTlsServer();
    await expect(runHooksBy(`${server.origin}/api`, true)).rejects.toThrow("the hook process ended with 1");
    expect(server.connections).toBeGreaterThan(0);
    expect(server.requests).toEqual([]);
  });

  test("when the server's name does not exist", async () => {
    await expect(runHooksBy("http://no-such-host.invalid/api", false)).rejects.toThrow("the hook process ended with 1");
  });
});

describe("reachesSameServer", () => {
  const own = { PREFECT_API_URL: "http://a/api", https_proxy: "http://p:1", HOME: "/root" };
  const rows: [rule: string, env: Record<string, string>, expected: boolean][] = [
    ["is true for the worker's own environment", own, true],
    ["is true whatever else differs", { ...own, HOME: "/", PREFECT_API_KEY: "k" }, true],
    ["is false for another URL", { ...own, PREFECT_API_URL: "http://b/api" }, false],
    ["is false for another proxy", { ...own, https_proxy: "http://p:2" }, false],
    ["is false for one more proxy", { ...own, ALL_PROXY: "http://p:1" }, false],
    ["is false without the proxy", { PREFECT_API_URL: "http://a/api" }, false],
  ];
  test.each(rows)("%s", (_rule, env, expected) => {
    expect(reachesSameServer(env, own)).toBe(expected);
  });

  test("is false without a URL, which a profile may give", () => {
    expect(reachesSameServer({}, {})).toBe(false);
  });
});

describe("a hook process", () => {
  /** Starts a program with a mark by which its processes are found. */
  function startHook(program: string, signals: Partial<HookProcessOptions>) {
    const mark = randomUUID();
    const ended = runHookProcess([process.execPath, inCheckout(`test/fixtures/programs/${program}`)], {
      cwd: inCheckout("."),
      env: { PATH: process.env.PATH ?? "", MARK: mark },
      output: "ignore",
      end: never,
      leave: never,
      ...signals,
    });
    ended.catch(() => undefined);
    return { ended, pids: () => pidsWithEnvironment("MARK", mark) };
  }

  test("is killed when the worker leaves at once", async () => {
    const leave = new AbortController();
    const hook = startHook("ignore-sigterm.mjs", { leave: leave.signal });
    await waitFor(async () => (await hook.pids()).length === 1, { timeoutMs: 10_000, what: "the process" });
    leave.abort();
    await expect(hook.ended).rejects.toThrow("the hook process ended with SIGKILL");
  });

  test("gets a SIGTERM and time to tidy up when it is ended", async () => {
    await using directory = await makeTemporaryDirectory();
    const end = new AbortController();
    const hook = startHook("tidy-up.mjs", { end: end.signal, env: { READY_FILE: `${directory.path}/ready` } });
    await waitFor(() => existsSync(`${directory.path}/ready`), { timeoutMs: 10_000, what: "the hook to be ready" });
    end.abort();
    await hook.ended;
    expect(existsSync(`${directory.path}/ready`)).toBe(false);
  });

  test("is ended with what it has started", async () => {
    const end = new AbortController();
    const hook = startHook("start-session.mjs", { end: end.signal });
    await waitFor(async () => (await hook.pids()).length === 2, { timeoutMs: 10_000, what: "both processes" });
    end.abort();
    await expect(hook.ended).rejects.toThrow("the hook process ended with SIGTERM");
    expect(await hook.pids()).toEqual([]);
  });

  test("is not started once the worker is being ended", async () => {
    const hook = startHook("ignore-sigterm.mjs", { end: AbortSignal.abort() });
    await expect(hook.ended).rejects.toThrow("were not started");
    expect(await hook.pids()).toEqual([]);
  });
});
