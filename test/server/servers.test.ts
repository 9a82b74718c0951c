// The servers a worker can be pointed at: with Basic authentication, behind a gateway like Cloud's, or restarting.
import { randomUUID } from "node:crypto";
import { describe, expect, inject, test } from "vitest";
import { runLictor } from "../support/lictor.ts";
import { prefectApi } from "../support/prefect-api.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const RARE_POLLS = { PREFECT_WORKER_QUERY_SECONDS: "60" };

describe("a server with Basic authentication", () => {
  const authString = "admin:marked-password-5d1";

  test("is served over HTTP and sockets with the auth string, and refuses a wrong one in one line", async () => {
    needsPrefect("3.1.8", "the auth string");
    await using server = await startPrefectServer({ authString });
    const headers = { authorization: `Basic ${Buffer.from(authString).toString("base64")}` };
    const api = prefectApi(server.apiUrl, { headers });
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello");
    {
      await using worker = await startWorker(pool, {
        apiUrl: server.apiUrl,
        env: { PREFECT_API_AUTH_STRING: authString, ...RARE_POLLS },
      });
      const created = await api.createFlowRun(deployment);
      await api.waitForState(created.id, ["COMPLETED"], 60_000);
      expect(worker.stderr).not.toContain("No connection");
      expect(worker.stdout + worker.stderr).not.toContain("marked-password-5d1");
    }
    const refused = await runLictor(["worker", "start", "--pool", pool], {
      env: { PREFECT_API_URL: server.apiUrl, PREFECT_API_AUTH_STRING: "admin:marked-wrong-77c" },
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr.trim().split("\n")).toHaveLength(1);
    expect(refused.stderr).toMatch(/401.*Basic.*PREFECT_API_AUTH_STRING.*environment.*lictor config view/);
    expect(refused.stdout + refused.stderr).not.toContain("marked-wrong-77c");
  });
});

describe("a gateway like Prefect Cloud's", () => {
  const cloud = { key: "pnu_marked_key_9a4", accountId: randomUUID(), workspaceId: randomUUID() };

  test("is served below its workspace path with the key as Bearer, over HTTP and sockets", async () => {
    await using gateway = await startReverseProxy(inject("apiUrl"), { cloud });
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", {
      // The engine of a flow run speaks to the gateway too, as it would to Cloud.
      jobVariables: { env: { PREFECT_LOGGING_TO_API_ENABLED: "false" } },
    });
    const env = { PREFECT_CLOUD_API_URL: gateway.cloudApiUrl, PREFECT_API_KEY: cloud.key, ...RARE_POLLS };
    await using worker = await startWorker(pool, { apiUrl: gateway.apiUrl, env });
    await waitFor(() => gateway.count("UPGRADE", "/events/in") > 0 && gateway.count("UPGRADE", "/events/out") > 0, {
      timeoutMs: 10_000,
      what: "both sockets",
    });
    const created = await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`submitting flow run '${created.id}'`), 15_000);
    await api.waitForState(created.id, ["COMPLETED"], 60_000);
    // What comes after the claim may be the engine's, which authenticates its sockets in another way.
    const claim = gateway.requests.findIndex(({ path }) => path === `/flow_runs/${created.id}/set_state`);
    const own = gateway.requests.slice(0, claim + 1);
    expect(own.map(({ path }) => path)).toEqual(expect.arrayContaining(["/events/in", "/events/out"]));
    for (const { headers, query } of own) {
      expect(headers.authorization).toBe(`Bearer ${cloud.key}`);
      expect(query).not.toContain(cloud.key);
    }
    // The id comes with the first heartbeat, which does not hold up the first claim; the flow run's process has it too.
    const second = await api.createFlowRun(deployment);
    await api.waitForState(second.id, ["COMPLETED"], 60_000);
    const attributed = () =>
      gateway.requests.filter(({ headers }) => headers["x-prefect-worker-id"] === gateway.workerId);
    // A busy server may have taken no heartbeat until now: there is one every 30 s.
    await waitFor(() => attributed().some(({ headers }) => headers["x-prefect-flow-id"] === undefined), {
      timeoutMs: 60_000,
      what: "a request of the worker with its id",
    });
    expect(worker.stderr).not.toContain("No connection");
  });

  test("refuses a wrong key: one line, exit 1, no secret", async () => {
    await using gateway = await startReverseProxy(inject("apiUrl"), { cloud });
    const refused = await runLictor(["worker", "start", "--pool", "any"], {
      env: {
        PREFECT_API_URL: gateway.apiUrl,
        PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
        PREFECT_API_KEY: "pnu_marked_wrong_1",
      },
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr.trim().split("\n")).toHaveLength(1);
    expect(refused.stderr).toMatch(/401.*Bearer.*PREFECT_API_KEY.*environment.*lictor config view/);
    expect(refused.stdout + refused.stderr).not.toContain("pnu_marked_wrong_1");
  });
});

describe("a server that is restarted", () => {
  test("finds the worker at work again, and the flow run that ran meanwhile completed", async () => {
    await using directory = await makeTemporaryDirectory("lictor-restart-");
    const first = await startPrefectServer({ home: directory.path });
    const api = prefectApi(first.apiUrl);
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello");
    await using worker = await startWorker(pool, { apiUrl: first.apiUrl, env: { PREFECT_WORKER_QUERY_SECONDS: "1" } });
    await api.waitForState((await api.createFlowRun(deployment)).id, ["COMPLETED"], 60_000);
    await first.stop();
    await worker.waitForOutput(/No connection to the events stream \(\/events\/out\)/, 10_000);
    await using _second = await startPrefectServer({ home: directory.path, port: first.port });
    const created = await api.createFlowRun(deployment);
    await api.waitForState(created.id, ["COMPLETED"], 90_000);
    await waitFor(() => worker.stderr.includes("Connected to the events stream (/events/out)"), {
      timeoutMs: 40_000,
      what: "the events socket to be connected again",
    });
  });
});
