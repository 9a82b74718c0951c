// Marked secrets in every source, every command at debug, success and failure: no mark may come out anywhere.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { deploy, newPool, programCommand, sharedApi } from "../server/deployments.ts";
import { type RunningProgram, startLictor } from "../support/lictor.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";

const MARK = /m4rk[a-z0-9]*/gi;
/** What the marks look like once they have been sent as Basic credentials. */
const ENCODED = ["admin:m4rkauth", "proxyuser:m4rkproxy", "user:m4rkurl"].map((text) =>
  Buffer.from(text).toString("base64").replace(/=+$/, ""),
);

const SECRETS = {
  PREFECT_API_KEY: "pnu_m4rkkey",
  PREFECT_API_AUTH_STRING: "admin:m4rkauth",
  PREFECT_CLIENT_CUSTOM_HEADERS: '{"X-Access-Token":"m4rkheader","Cookie":"session=m4rkcookie"}',
  PREFECT_LOGGING_LEVEL: "DEBUG",
  NO_PROXY: "127.0.0.1",
  HTTP_PROXY: "http://proxyuser:m4rkproxy@127.0.0.1:9",
};

const COMMANDS = [
  ["worker", "start", "--pool", "no-such-pool", "--type", "ecs"],
  ["worker", "start", "--pool", "m/n"],
  ["worker", "start", "--pool", "secrets", "--run-once", "--no-create-pool-if-not-found"],
  ["version"],
  ["doctor", "--timeout", "4", "--pool", "secrets"],
  ["doctor", "--timeout", "4", "--json"],
  ["config", "view"],
  ["config", "view", "--show-defaults", "-o", "json"],
  ["config", "validate"],
  ["config", "set", "PREFECT_API_URL=http://user:m4rkurl@127.0.0.1:9/api", "PREFECT_WORKER_QUERY_SECONDS=never"],
  ["profile", "ls"],
  ["profile", "inspect"],
  ["profile", "use", "nobody"],
  ["cloud", "login", "-k", "pnu_m4rklogin", "-w", "a/b"],
  ["cloud", "workspace", "ls"],
  ["cloud", "logout"],
];

async function filesBelow(directory: string): Promise<string> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const texts = await Promise.all(
    entries
      // What the user has put into profiles.toml is there to stay.
      .filter((entry) => entry.isFile() && entry.name !== "profiles.toml")
      .map((entry) => readFile(join(entry.parentPath, entry.name), "utf8").catch(() => "")),
  );
  return texts.join("\n");
}

async function leaks(program: RunningProgram): Promise<string[]> {
  const all = `${program.stdout}\n${program.stderr}\n${await filesBelow(program.home)}`;
  return [...(all.match(MARK) ?? []), ...ENCODED.filter((text) => all.includes(text))];
}

describe("no secret leaves", () => {
  test.each(["a server that is not there", "a server that refuses", "a server that takes the key"])(
    "any command at debug, against %s",
    async (peer) => {
      await using gateway = await startReverseProxy(inject("apiUrl"), {
        onRequest: () => (peer === "a server that refuses" ? { status: 401, body: '{"detail":"no"}' } : undefined),
      });
      const apiUrl =
        peer === "a server that is not there"
          ? "http://user:m4rkurl@127.0.0.1:9/api"
          : gateway.apiUrl.replace("//", "//user:m4rkurl@");
      const env = {
        ...SECRETS,
        PREFECT_API_URL: apiUrl,
        PREFECT_CLOUD_API_URL: `${new URL(gateway.apiUrl).origin}/cloud`,
      };
      for (const command of COMMANDS) {
        await using program = await startLictor(command, { env });
        await program.exited;
        expect({ command, found: await leaks(program) }).toEqual({ command, found: [] });
      }
    },
  );

  test("a worker at debug that runs a flow run to its end", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", {
      jobVariables: { command: programCommand("flood-stdout.mjs", "1") },
    });
    await using worker = await startWorker(pool, {
      apiUrl: inject("apiUrl").replace("//", "//user:m4rkurl@"),
      env: SECRETS,
    });
    await api.createFlowRun(deployment);
    await worker.waitForOutput(/^done$/m, 30_000);
    worker.signal("SIGTERM");
    await worker.exited;
    expect(await leaks(worker)).toEqual([]);
  });

  test("a worker at debug on a server with Basic authentication, after the key was refused", async () => {
    await using server = await startPrefectServer({ authString: SECRETS.PREFECT_API_AUTH_STRING });
    await using worker = await startLictor(["worker", "start", "--pool", "secrets", "--run-once"], {
      env: { ...SECRETS, PREFECT_API_URL: server.apiUrl },
    });
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(await leaks(worker)).toEqual([]);
  });
});
