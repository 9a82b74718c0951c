// Cancelling a flow run: its end, its hooks, its processes, whoever is away meanwhile.
import { describe, expect, inject, test } from "vitest";
import { startBlackHoleRelay } from "../support/black-hole-relay.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  ENGINE_TIMEOUT_MS,
  sleeping,
  startCommand,
  startHooked,
  untilCancelled,
  untilNoProcess,
} from "./cancelled-runs.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

describe("a cancelled flow run", () => {
  test("of a command that is not Prefect is ended with its grandchildren", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `${process.execPath} -e "require('child_process').spawn(process.execPath,['-e','setInterval(()=>0,1e3)']);console.log('plain');setInterval(()=>0,1e3)"`;
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const { id } = await api.createFlowRun(deployment);
    await worker.waitForOutput(/^plain$/m, 20_000);
    await api.request("PATCH", `/flow_runs/${id}`, { infrastructure_pid: "1" });
    await api.setState(id, "CANCELLING", { force: true });
    await untilCancelled(api, id);
    await untilNoProcess(worker);
  });

  test("is found by polling while the events socket is refused", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", {
      jobVariables: { command: programCommand("ignore-sigterm.mjs") },
    });
    await using proxy = await startReverseProxy(inject("apiUrl"), { onUpgrade: () => 403 });
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: { PREFECT_WORKER_QUERY_SECONDS: "1" } });
    const { id } = await api.createFlowRun(deployment);
    await worker.waitForOutput(/^ready$/m, 20_000);
    await api.setState(id, "CANCELLING", { force: true });
    await worker.waitForOutput(/^ignored$/m, 20_000);
  });
});

describe("a cancellation whose event is lost", () => {
  /** The worker asks at once after it has connected, so a cancellation just then would be found early. */
  const quietMs = 6_000;

  test.concurrent.each(["drops all frames of the server", "leaves all connections half-open"])(
    "because the network %s takes at most 20 s, and few requests",
    async (fault) => {
      let isDeaf = false;
      await using proxy = await startReverseProxy(inject("apiUrl"), {
        relayRules: () => ({ fromServer: (frame) => (isDeaf ? null : frame) }),
      });
      const apiUrl = new URL(proxy.apiUrl);
      await using relay = await startBlackHoleRelay(Number(apiUrl.port));
      apiUrl.port = String(relay.port);
      await using run = await startCommand(sleeping, { apiUrl: apiUrl.href });
      await run.worker.waitForOutput(/^plain$/m, 20_000);
      if (fault.startsWith("drops")) isDeaf = true;
      else expect(relay.swallow(() => true)).toBeGreaterThan(1);
      const looks = () => proxy.requests.filter(({ body }) => body.includes('"Cancelling"'));
      const isQuiet = async () => performance.now() - (looks().at(-1)?.atMs ?? Number.POSITIVE_INFINITY) > quietMs;
      await waitFor(isQuiet, { timeoutMs: 60_000, what: "no look for 6 s" });
      const before = looks().length;
      const startedAt = performance.now();
      await run.api.setState(run.id, "CANCELLING", { force: true });
      await untilCancelled(run.api, run.id);
      expect(performance.now() - startedAt).toBeLessThan(20_000 - quietMs);
      expect(looks().length - before).toBe(1);
    },
  );
});

describe("a flow run that is killed from outside", () => {
  test.each([
    ["is killed", "kill_self_with_hooks", /^Process exited with status code: -9\./],
    ["reports it itself", "exit_with_hooks", /^Execution was aborted|^Process exited with status code: 3\./],
  ])("ends as Crashed and has its crashed hooks run once where its engine %s", async (_what, flow, message) => {
    await using run = await startHooked(flow);
    const { flowRun } = await run.api.waitForState(run.id, ["CRASHED"], ENGINE_TIMEOUT_MS);
    expect(flowRun.state?.message).toMatch(message);
    await waitFor(run.hooks, { timeoutMs: 60_000, what: "the hook's trace" });
    run.worker.signal("SIGTERM");
    await run.worker.exited;
    expect(await run.hooks()).toBe("crashed Crashed\n");
  });

  test("has its crashed hooks run once although the server is away just then", async () => {
    const interferences = ["lose-answer", { status: 503 }] as const;
    let interfered = 0;
    let isReported = false;
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: ({ method, path, body }) => {
        isReported ||= path.endsWith("/set_state") && body.includes('"CRASHED"');
        if (!isReported || method !== "GET" || !/\/flow_runs\/[^/]+$/.test(path)) return undefined;
        return interferences[interfered++];
      },
    });
    await using run = await startHooked("kill_self_with_hooks", {
      apiUrl: proxy.apiUrl,
      // Prefect's own client would repeat the request.
      env: { PREFECT_CLIENT_MAX_RETRIES: "0" },
    });
    await run.api.waitForState(run.id, ["CRASHED"], ENGINE_TIMEOUT_MS);
    await waitFor(run.hooks, { timeoutMs: 60_000, what: "the hook's trace" });
    run.worker.signal("SIGTERM");
    await run.worker.exited;
    expect(await run.hooks()).toBe("crashed Crashed\n");
    expect(interfered).toBeGreaterThan(interferences.length);
  });
});
