// The single executable: `npm run build:binary`, and the program on a machine without Node.js.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import { inCheckout } from "../support/checkout.ts";
import { findFreePort } from "../support/free-port.ts";
import { LICTOR, runLictor } from "../support/lictor.ts";
import { forkServers, pidsWithEnvironment } from "../support/processes.ts";
import { runCommand } from "../support/run-command.ts";
import { startWorker } from "../support/start-worker.ts";

const buildTimeoutMs = 120_000;
const engineTimeoutMs = 90_000;
const command = [inCheckout("dist/binary/lictor")] as const;
/** No Node.js is found there. */
const withoutNode = { PATH: "/nonexistent" };

beforeAll(async () => {
  // `npm run build:binary` would build dist/ again, while other tests use it.
  const { code, stderr } = await runCommand(LICTOR[0], [inCheckout("build-binary.js")], { cwd: inCheckout(".") });
  if (code !== 0) throw new Error(`build-binary.js: exit ${code}\n${stderr}`);
}, buildTimeoutMs);

describe("the single executable", () => {
  test("runs commands without Node.js", async () => {
    const { version } = JSON.parse(await readFile(inCheckout("package.json"), "utf8")) as { version: string };
    expect(await runLictor(["--version"], { command, env: withoutNode })).toEqual({
      code: 0,
      stdout: `${version}\n`,
      stderr: "",
    });
    const view = await runLictor(["config", "view"], { command, env: { ...withoutNode, PREFECT_DEBUG_MODE: "no" } });
    expect(view).toMatchObject({ code: 0, stderr: "" });
    expect(view.stdout).toContain("PREFECT_DEBUG_MODE='no' (from env)\n");
  });

  test("runs a worker with its status page, and a flow run by a warm engine", async () => {
    const port = String(await findFreePort());
    const env = {
      ...withoutNode,
      PREFECT_WORKER_WEBSERVER_HOST: "127.0.0.1",
      PREFECT_WORKER_WEBSERVER_PORT: port,
      PREFECT_LOGGING_LEVEL: "DEBUG",
    };
    const api = sharedApi();
    const pool = await newPool(api);
    const options = { apiUrl: inject("apiUrl"), command, env, args: ["--with-healthcheck", "--engine", "warm"] };
    await using worker = await startWorker(pool, options);
    const page = await (await fetch(`http://127.0.0.1:${port}/`)).text();
    expect(page).toBe(await readFile(join(inCheckout("dist"), "status-page.html"), "utf8"));
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello"));
    await api.waitForState(id, ["COMPLETED"], engineTimeoutMs);
    const own = await pidsWithEnvironment("HOME", worker.home);
    if (process.platform === "linux") expect((await forkServers()).filter((pid) => own.includes(pid))).toHaveLength(1);
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  });
});
