// Starting a worker: what it sets up on the server, what it says, and what it refuses.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { processBaseJobTemplate } from "../../src/infrastructure/process/base-job-template.ts";
import { findFreePort } from "../support/free-port.ts";
import { runInTerminal } from "../support/in-terminal.ts";
import { runLictor, startLictor } from "../support/lictor.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const env = (): Record<string, string> => ({ PREFECT_API_URL: inject("apiUrl") });

describe("worker start", () => {
  test("creates a missing pool with the default template and shows up as an online worker", async () => {
    const api = sharedApi();
    const pool = `new-${randomUUID().slice(0, 8)}`;
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), name: "creator" });
    expect(worker.stdout).toContain(`Work pool '${pool}' does not exist and no worker type was provided.`);
    expect(worker.stderr).toContain(`Work pool '${pool}' created.`);
    expect((await api.readWorkPool(pool)).base_job_template).toEqual(processBaseJobTemplate);
    const record = await waitFor(async () => (await api.readWorkers(pool)).find(({ name }) => name === "creator"), {
      timeoutMs: 20_000,
      what: "the worker's heartbeat",
    });
    expect(record).toMatchObject({ status: "ONLINE", heartbeat_interval_seconds: 30 });
    await waitFor(async () => (await api.readWorkPool(pool)).status === "READY", {
      timeoutMs: 20_000,
      what: "a ready pool",
    });
  });

  test("with --base-job-template FILE creates the pool with that template", async () => {
    const api = sharedApi();
    await using directory = await makeTemporaryDirectory("lictor-template-");
    const template = {
      job_configuration: { command: "{{ command }}", env: { FIXED: "1" } },
      variables: { type: "object", properties: { command: { type: "string", default: "true" } } },
    };
    const file = join(directory.path, "template.json");
    await writeFile(file, JSON.stringify(template));
    const pool = `templated-${randomUUID().slice(0, 8)}`;
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--base-job-template", file] });
    expect((await api.readWorkPool(pool)).base_job_template).toEqual(template);
  });

  test("with --no-create-pool-if-not-found waits for the pool to appear", async () => {
    const api = sharedApi();
    const pool = `awaited-${randomUUID().slice(0, 8)}`;
    await using worker = await startWorker(pool, {
      apiUrl: inject("apiUrl"),
      args: ["--no-create-pool-if-not-found"],
      env: { PREFECT_WORKER_HEARTBEAT_SECONDS: "1", PREFECT_WORKER_QUERY_SECONDS: "1" },
    });
    await worker.waitForOutput(new RegExp(`Work pool '${pool}' not found!`), 20_000);
    await api.createWorkPool(pool);
    const deployment = await deploy(api, pool, "hello", {
      jobVariables: { command: programCommand("flood-stdout.mjs", "1") },
    });
    const created = await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`submitting flow run '${created.id}'`), 20_000);
  });

  test("with --run-once executes what is scheduled and exits with 0", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello");
    const created = await api.createFlowRun(deployment);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--run-once"] });
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect((await api.readFlowRun(created.id)).state_type).toBe("COMPLETED");
  });

  test("says so when all its work queues are paused", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await api.createWorkQueue(pool, "held", { is_paused: true });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--work-queue", "held"] });
    await worker.waitForOutput(
      new RegExp(`Specified work queue\\(s\\) in the work pool '${pool}' are currently paused\\.`),
      10_000,
    );
  });

  test("says so with --run-once too, before it ends", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await api.createWorkQueue(pool, "held", { is_paused: true });
    const args = ["worker", "start", "--pool", pool, "--work-queue", "held", "--run-once"];
    const { code, stdout } = await runLictor(args, { env: env() });
    expect(stdout).toContain(`Specified work queue(s) in the work pool '${pool}' are currently paused.`);
    expect(code).toBe(0);
  });

  test("asks for the pool on a terminal", async () => {
    await using home = await makeTemporaryDirectory("lictor-ask-");
    const { code, output } = await runInTerminal(
      inject("python"),
      ["worker", "start", "--type", "process", "--run-once"],
      {
        env: { ...env(), PATH: process.env.PATH ?? "", HOME: home.path, PREFECT_HOME: home.path },
        cwd: home.path,
        dialogue: [["Work pool name: ", `asked-${randomUUID().slice(0, 8)}\r`]],
      },
    );
    expect(output).toMatch(/Worker '.*' stopped!/);
    expect(code).toBe(0);
  });

  test("with --with-healthcheck answers /health", async () => {
    const pool = await newPool(sharedApi());
    const port = await findFreePort();
    await using _worker = await startWorker(pool, {
      apiUrl: inject("apiUrl"),
      args: ["--with-healthcheck"],
      env: { PREFECT_WORKER_WEBSERVER_HOST: "127.0.0.1", PREFECT_WORKER_WEBSERVER_PORT: String(port) },
    });
    const response = await fetch(`http://127.0.0.1:${port}/health`);
    expect([response.status, await response.json()]).toEqual([200, { message: "OK" }]);
  });

  test("without a Python with Prefect says so in one line and claims only what has a command", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const needsPython = await api.createFlowRun(await deploy(api, pool, "hello"));
    const needsNone = await api.createFlowRun(
      await deploy(api, pool, "hello", { jobVariables: { command: programCommand("flood-stdout.mjs", "1") } }),
    );
    await using worker = await startLictor(["worker", "start", "--pool", pool], {
      env: { ...env(), LICTOR_PYTHON: "/no/such/python" },
    });
    await worker.waitForOutput(new RegExp(`submitting flow run '${needsNone.id}'`), 20_000);
    await worker.waitForOutput(/^done$/m, 10_000);
    expect(worker.stderr.match(/No Python with Prefect/g)).toHaveLength(1);
    expect(worker.stderr).toMatch(/LICTOR_PYTHON.*\/no\/such\/python not found.*pip install prefect/);
    expect((await api.readFlowRun(needsPython.id)).state_type).toBe("SCHEDULED");
  });

  test.each([
    {
      what: "LICTOR_LOST_AFTER_SECONDS that is no number",
      args: ["-p", "x"],
      env: { LICTOR_LOST_AFTER_SECONDS: "10 min" },
      error: /^LICTOR_LOST_AFTER_SECONDS is '10 min'\. It must be a whole number of seconds from 0 to 1000000/,
    },
    { what: "no pool", args: [], error: /^Missing required option '--pool' \/ '-p'\.$/ },
    {
      what: "an unsupported type",
      args: ["-p", "x", "--type", "ecs"],
      error: /'ecs'.*Supported: process, docker, kubernetes\./,
    },
    {
      what: "a time for containers that is no number",
      args: ["-p", "x", "--type", "docker"],
      env: { LICTOR_DOCKER_KEEP_HOURS: "a day" },
      error: /^LICTOR_DOCKER_KEEP_HOURS is 'a day'\. It must be a number of hours/,
    },
    {
      what: "a setting of Kubernetes that is no number",
      args: ["-p", "x", "--type", "kubernetes"],
      env: { PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_JOB_RETRY_MAX_RETRIES: "many" },
      error: /_MAX_RETRIES is 'many'\. It must be a whole number of at least 1\./,
    },
    {
      what: "an engine behind SSH",
      args: ["-p", "x", "--type", "docker"],
      env: { DOCKER_HOST: "ssh://me@engine" },
      error: /^lictor does not connect to Docker over SSH \(ssh:\/\/me@engine\)\. Forward the socket/,
    },
    {
      what: "an empty pool name",
      args: ["-p", ""],
      error: /^The name of a work pool is empty\. Name it with --pool\./,
    },
    { what: "an empty queue", args: ["-p", "x", "-q", ""], error: /^'' is no name of a work queue\. Write queue, or/ },
    { what: "a queue with two slashes", args: ["-p", "x", "-q", "x/y/z"], error: /^'x\/y\/z' is no name of a work/ },
    { what: "a type with a slash", args: ["-p", "x", "-t", "a/b"], error: /^Work pools of type 'a\/b' are not supp/ },
    { what: "a pool name with a slash", args: ["-p", "a/b"], error: /^Work pool name 'a\/b' cannot contain any of/ },
    {
      what: "a name with a line end",
      args: ["-p", "x", "--name", "a\nb"],
      error: /^Worker name cannot contain line ends/,
    },
    {
      what: "a name with a slash",
      args: ["-p", "x", "--name", "a/b"],
      error: /^Worker name cannot contain '\/' or '%'$/,
    },
    {
      what: "a limit of no number",
      args: ["-p", "x", "--limit", "many"],
      error: /--limit.*whole number of at least 1/,
    },
    { what: "a limit of 0", args: ["-p", "x", "--limit", "0"], error: /--limit.*whole number of at least 1/ },
    {
      what: "a missing template",
      args: ["-p", "x", "--base-job-template", "/nowhere"],
      error: /cannot read \/nowhere \(ENOENT\)/,
    },
    {
      what: "a template that is no JSON",
      args: ["-p", "x", "--base-job-template", "/etc/hostname"],
      error: /is not JSON/,
    },
    { what: "an unknown option", args: ["-p", "x", "--frobnicate"], error: /unknown option '--frobnicate'/ },
    { what: "an unknown profile", args: ["-p", "x", "--profile", "nobody"], error: /Unknown profile 'nobody'/ },
  ])("refuses $what with one clear line and exit 1", async ({ args, error, env: own }) => {
    const refused = await runLictor(["worker", "start", ...args], { env: { ...env(), ...own } });
    expect(refused.code).toBe(1);
    const lines = refused.stderr.trim().split("\n");
    expect(lines[0]?.replace(/^error: /, "")).toMatch(error);
    expect(lines.length).toBeLessThanOrEqual(2);
    expect(refused.stdout).toBe("");
  });

  test("without PREFECT_API_URL and key says how to set it, exit 1", async () => {
    const refused = await runLictor(["worker", "start", "--pool", "x"], {});
    expect(refused.code).toBe(1);
    expect(refused.stderr.trim().split("\n")).toHaveLength(1);
    expect(refused.stderr).toContain("`PREFECT_API_URL` must be set to start a Worker.");
  });

  test("with a URL that lacks /api says what it ends in, exit 1, and creates nothing", async () => {
    const refused = await runLictor(["worker", "start", "--pool", "x"], {
      env: { PREFECT_API_URL: inject("apiUrl").replace(/\/api$/, "") },
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr.trim().split("\n")).toHaveLength(1);
    expect(refused.stderr).toMatch(/404.*PREFECT_API_URL of a self-hosted server ends in \/api/);
  });

  test("against a server that is not there says so at once, exit 1", async () => {
    const port = await findFreePort();
    const refused = await runLictor(["worker", "start", "--pool", "x"], {
      env: { PREFECT_API_URL: `http://127.0.0.1:${port}/api` },
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr.trim().split("\n")).toHaveLength(1);
    expect(refused.stderr).toMatch(
      /^Unable to reach the Prefect API to determine the type of work pool 'x': .*ECONNREFUSED/,
    );
  });
});

describe("version", () => {
  test("prints what it is and what it is connected to", async () => {
    const { code, stdout } = await runLictor(["version"], { env: env() });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Version: +\d+\.\d+\.\d+$/m);
    expect(stdout).toMatch(/^Node version: +20|^Node version: +\d+/m);
    expect(stdout).toMatch(/^Default image: +prefecthq\/prefect:3\.\d+\.\d+-python3\.\d+$/m);
    expect(stdout).toMatch(/^Server type: +self-hosted$/m);
    expect(stdout).toMatch(/^Server version: +3\.\d+\.\d+$/m);
  });
});
