// Credentials that change while a worker runs, that come from files, or that leave the workspace open.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { runLictor, startLictor } from "../support/lictor.ts";
import { prefectApi } from "../support/prefect-api.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const QUICK = { jobVariables: { command: programCommand("flood-stdout.mjs", "1") } };
const RARE_POLLS = { PREFECT_WORKER_QUERY_SECONDS: "60" };

function newAccount(): { key: string; accountId: string; workspaceId: string } {
  return { key: `pnu_${randomUUID()}`, accountId: randomUUID(), workspaceId: randomUUID() };
}

/** JavaScript that reverses a text. The worker would hide a secret that a flow run prints as it is. */
const reversed = (expression: string): string => `[...(${expression})].reverse().join('')`;

/** A file that only its user may read, with a secret that can be rotated. */
async function startSecretFile(first: string) {
  const directory = await makeTemporaryDirectory("lictor-secret-");
  const file = join(directory.path, "secret");
  const write = async (secret: string): Promise<void> => await writeFile(file, `${secret}\n`, { mode: 0o600 });
  await write(first);
  return { file, write, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

describe("with a key and an auth string", () => {
  test("a self-hosted server that refuses the key is served with Basic, over sockets too, with one warning", async () => {
    needsPrefect("3.1.8", "the auth string");
    const authString = "admin:marked-basic-2f8";
    await using server = await startPrefectServer({ authString });
    const headers = { authorization: `Basic ${Buffer.from(authString).toString("base64")}` };
    const api = prefectApi(server.apiUrl, { headers });
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", QUICK);
    await using worker = await startWorker(pool, {
      apiUrl: server.apiUrl,
      env: { PREFECT_API_KEY: "pnu_marked_key_77b", PREFECT_API_AUTH_STRING: authString, ...RARE_POLLS },
    });
    const created = await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`submitting flow run '${created.id}'`), 15_000);
    const warning =
      /The server refused PREFECT_API_KEY from the environment; going on with PREFECT_API_AUTH_STRING from the environment as Basic\./g;
    expect(worker.stderr.match(warning)).toHaveLength(1);
    expect(worker.stderr).not.toContain("No connection");
    expect(worker.stdout + worker.stderr).not.toMatch(/marked-basic-2f8|pnu_marked_key_77b/);
  });

  test("Cloud gets the key, never the auth string, also when it refuses the key", async () => {
    const cloud = newAccount();
    await using gateway = await startReverseProxy(inject("apiUrl"), { cloud });
    const refused = await runLictor(["worker", "start", "--pool", "x"], {
      env: {
        PREFECT_API_URL: gateway.apiUrl,
        PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
        PREFECT_API_KEY: "pnu_wrong",
        PREFECT_API_AUTH_STRING: "admin:secret",
      },
    });
    expect(refused.code).toBe(1);
    expect(new Set(gateway.requests.map(({ headers }) => headers.authorization))).toEqual(
      new Set(["Bearer pnu_wrong"]),
    );
  });
});

describe("with the key in a file", () => {
  test("a rotated key is read again after a 401: no restart, and the flow run's process gets the new one", async () => {
    const cloud = newAccount();
    const old = cloud.key;
    await using gateway = await startReverseProxy(inject("apiUrl"), { cloud });
    await using secret = await startSecretFile(old);
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `${process.execPath} -p "'key '+${reversed("process.env.PREFECT_API_KEY+process.env.PREFECT_API_AUTH_STRING")}"`;
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
    await using worker = await startWorker(pool, {
      apiUrl: gateway.apiUrl,
      args: ["--log-format", "text"],
      env: {
        PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
        PREFECT_API_KEY_FILE: secret.file,
        // An engine would send it to Cloud instead of the key.
        PREFECT_API_AUTH_STRING: "left:over",
        PREFECT_WORKER_QUERY_SECONDS: "1",
      },
    });
    await waitFor(() => gateway.count("UPGRADE", "/events/out") === 1, {
      timeoutMs: 10_000,
      what: "the events socket",
    });
    cloud.key = `pnu_${randomUUID()}`;
    await secret.write(cloud.key);
    gateway.dropAll();
    await worker.waitForOutput(
      /The server refused PREFECT_API_KEY from file .*; going on with its new value\./,
      15_000,
    );
    await waitFor(
      () =>
        gateway.requests.filter(
          ({ path, headers }) => path === "/events/out" && headers.authorization === `Bearer ${cloud.key}`,
        ).length > 0,
      { timeoutMs: 20_000, what: "the events socket with the new key" },
    );
    await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`^key ${[...cloud.key].reverse().join("")}$`, "m"), 20_000);
    expect(worker.stderr).not.toContain(old);
    expect(worker.stderr).not.toContain(cloud.key);
  });
});

test("an auth string that is rotated in its file is read again, and the flow run's process gets the new one", async () => {
  let accepted = "admin:before";
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: ({ headers }) =>
      headers.authorization === `Basic ${Buffer.from(accepted).toString("base64")}` ? undefined : { status: 401 },
  });
  await using secret = await startSecretFile(accepted);
  const api = sharedApi();
  const pool = await newPool(api);
  const command = `${process.execPath} -p "'with '+${reversed("process.env.PREFECT_API_AUTH_STRING")}"`;
  const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
  await using worker = await startWorker(pool, {
    apiUrl: proxy.apiUrl,
    args: ["--log-format", "text"],
    env: { PREFECT_API_AUTH_STRING_FILE: secret.file, PREFECT_WORKER_QUERY_SECONDS: "1" },
  });
  accepted = "admin:after";
  // The server is first; the file follows.
  await worker.waitForOutput(/The server refused PREFECT_API_AUTH_STRING from file .*; waiting 60 s/, 15_000);
  await secret.write(accepted);
  await api.createFlowRun(deployment);
  await worker.waitForOutput(/^with retfa:nimda$/m, 20_000);
  expect(worker.stderr).not.toMatch(/admin:(before|after)/);
});

describe("with a key alone", () => {
  const workspace = (handle: string): object => ({
    account_id: randomUUID(),
    account_name: "Acme",
    account_handle: "acme",
    workspace_id: randomUUID(),
    workspace_name: handle,
    workspace_handle: handle,
  });

  test("the only workspace of the key is used, and the flow run's process told of it", async () => {
    const cloud = newAccount();
    await using gateway = await startReverseProxy(inject("apiUrl"), { cloud });
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `${process.execPath} -p "'url '+process.env.PREFECT_API_URL"`;
    await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
    await using worker = await startLictor(["worker", "start", "--pool", pool, "--python", inject("python")], {
      env: { PREFECT_CLOUD_API_URL: gateway.cloudApiUrl, PREFECT_API_KEY: cloud.key },
    });
    const [, url] = await worker.waitForOutput(/^url (.*)$/m, 20_000);
    expect(url).toBe(gateway.apiUrl);
    expect(worker.stderr).toMatch(/Using workspace '.*\/.*' of Prefect Cloud\./);
  });

  test.each([
    {
      what: "several",
      handles: ["b", "a"],
      args: [],
      error:
        /can enter several workspaces: 'acme\/a', 'acme\/b'\. Choose one by --workspace, by PREFECT_API_URL, or by `lictor cloud login -w`\./,
    },
    { what: "no", handles: [], args: [], error: /can enter no workspace of Prefect Cloud\./ },
    {
      what: "other",
      handles: ["a"],
      args: ["--workspace", "acme/z"],
      error: /Workspace 'acme\/z' is none of those the key can enter: 'acme\/a'\./,
    },
  ])("$what workspaces are one clear error", async ({ handles, args, error }) => {
    await using cloud = await startScriptedServer({
      http: { "GET /api/me/workspaces": [{ body: handles.map(workspace) }] },
    });
    const refused = await runLictor(["worker", "start", "--pool", "x", ...args], {
      env: { PREFECT_CLOUD_API_URL: `${cloud.url}/api`, PREFECT_API_KEY: "pnu_marked_alone" },
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr.trim().split("\n")).toHaveLength(1);
    expect(refused.stderr).toMatch(error);
    expect(refused.stderr).not.toContain("pnu_marked_alone");
    expect(cloud.requests[0]?.headers.authorization).toBe("Bearer pnu_marked_alone");
  });
});
