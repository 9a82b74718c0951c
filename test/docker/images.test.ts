// The images of docs/deploy/Dockerfile: built by a real engine without a network, and run.
import { spawn } from "node:child_process";
import { cp, readFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { load } from "js-yaml";
import { beforeAll, describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import { BASE_IMAGES, importBaseImages, pythonVolumes } from "../support/base-images.ts";
import { inCheckout } from "../support/checkout.ts";
import { whyNoEngine } from "../support/docker-engine.ts";
import type { DockerEngine } from "../support/engine-program.ts";
import { findFreePort } from "../support/free-port.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { useEngine } from "./docker-pool.ts";

const missing = await whyNoEngine();
const engineTimeoutMs = 90_000;
const buildTimeoutMs = 120_000;

/** Packs the built checkout and builds both images from it, as the head of the Dockerfile says. */
async function buildImages(engine: DockerEngine): Promise<void> {
  await using context = await makeTemporaryDirectory("lictor-images-");
  // Without scripts, because other tests use dist/ at the same time.
  const pack = ["pack", "--ignore-scripts", "--silent", "--pack-destination", context.path];
  expect((await runCommand("npm", pack, { cwd: inCheckout(".") })).code).toBe(0);
  for (const file of [".dockerignore", "docs/deploy/Dockerfile"]) {
    await cp(inCheckout(file), join(context.path, file), { recursive: true });
  }
  for (const target of ["lictor", "lictor-python"]) {
    const query = new URLSearchParams({
      dockerfile: "docs/deploy/Dockerfile",
      target,
      t: target,
      networkmode: "none",
      buildargs: JSON.stringify(BASE_IMAGES),
    });
    const output = await sendContext(engine, `/build?${query}`, context.path);
    if (!output.includes("Successfully tagged")) throw new Error(output);
  }
}

async function sendContext({ socketPath }: DockerEngine, path: string, directory: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const headers = { "content-type": "application/x-tar" };
    const request = httpRequest({ socketPath, method: "POST", path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("end", () => resolve(text));
    });
    request.on("error", reject);
    spawn("tar", ["-C", directory, "-c", "."], { stdio: ["ignore", "pipe", "ignore"] }).stdout.pipe(request);
  });
}

interface ContainerState {
  Status: string;
  ExitCode: number;
  Health?: { Status: string; Log: { Output: string }[] };
}

interface Started {
  path: string;
  state(): Promise<ContainerState>;
  output(): Promise<string>;
}

/** Starts a container as a careful operator does: nothing can be written but directories in memory. Waits until it is healthy. */
async function runImage(
  engine: DockerEngine,
  image: string,
  {
    Tmpfs,
    Env = [],
    Binds = [],
    ...options
  }: { Tmpfs: Record<string, string>; Env?: string[]; Binds?: string[] } & JsonObject,
): Promise<Started> {
  const { body } = await engine.request<{ Id: string; message?: string }>("POST", "/containers/create", {
    Image: image,
    Env: [`PREFECT_API_URL=${inject("apiUrl")}`, `PREFECT_WORKER_WEBSERVER_PORT=${await findFreePort()}`, ...Env],
    // The command is that of the image. Its interval is too long for a test.
    Healthcheck: { Interval: 1e9 },
    HostConfig: { NetworkMode: "host", ReadonlyRootfs: true, CapDrop: ["ALL"], Tmpfs: { "/tmp": "", ...Tmpfs }, Binds },
    ...options,
  });
  const path = `/containers/${body.Id}`;
  const started = await engine.request<{ message?: string }>("POST", `${path}/start`);
  expect(started.body.message ?? body.message).toBeUndefined();
  const state = async () => (await engine.request<{ State: ContainerState }>("GET", `${path}/json`)).body.State;
  const output = async () => (await engine.request<string>("GET", `${path}/logs?stdout=1&stderr=1`)).body;
  const isHealthy = async () => {
    const { Status, Health } = await state();
    if (Status === "exited") throw new Error(`the container ended:\n${await output()}`);
    return Health?.Status === "healthy";
  };
  await waitFor(isHealthy, { timeoutMs: 60_000, what: `a healthy ${image}` });
  return { path, state, output };
}

/** Runs a command in a container. Returns its output. */
async function execute(engine: DockerEngine, path: string, command: readonly string[]): Promise<string> {
  const options = { AttachStdout: true, AttachStderr: true, Tty: true, Cmd: command };
  const { body } = await engine.request<{ Id: string }>("POST", `${path}/exec`, options);
  const answer = await engine.request<string>("POST", `/exec/${body.Id}/start`, { Detach: false, Tty: true });
  return answer.body.trim();
}

describe.skipIf(missing)("the images of docs/deploy/Dockerfile", { timeout: 180_000 }, () => {
  const docker = useEngine();

  beforeAll(async () => {
    await importBaseImages(docker.engine);
    await buildImages(docker.engine);
  }, buildTimeoutMs);

  test("execute flow runs in Python without rights, and let them end after SIGTERM", async () => {
    const { engine } = docker;
    const api = sharedApi();
    const pool = await newPool(api);
    const Binds = await pythonVolumes();
    const Tmpfs = { "/var/lib/lictor": "uid=1000,mode=0700" };
    const { path, state } = await runImage(engine, "lictor-python", { Cmd: ["--pool", pool], Tmpfs, Binds });
    expect(await execute(engine, path, ["sh", "-c", "id -u; touch /opt/x"])).toMatch(/^1000\s+touch: .*Read-only/);
    expect(await execute(engine, path, ["lictor", "worker", "status"])).toContain(pool);

    const flow = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds: 3 } });
    await api.waitForState(flow.id, ["RUNNING"], engineTimeoutMs);
    await engine.request("POST", `${path}/stop?t=60`);
    expect(await state()).toMatchObject({ Status: "exited", ExitCode: 0 });
    const { states } = await api.waitForState(flow.id, ["COMPLETED"], 1000);
    expect(states.map(({ name }) => name)).not.toContain("Crashed");
  });

  test("execute programs without Python, and start as Prefect's Helm chart starts them", async () => {
    const { engine } = docker;
    const api = sharedApi();
    const pool = await newPool(api);
    // Source: prefect-helm charts/prefect-worker/templates/deployment.yaml and values.yaml.
    const chart = {
      User: "1001:1001",
      Entrypoint: ["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"],
      Cmd: ["prefect", "worker", "start", "--type", "process", "--pool", pool, "--install-policy", "prompt"],
      WorkingDir: "/home/prefect",
      Tmpfs: { "/home/prefect": "uid=1001" },
    };
    const values = await readHelmValues();
    const Cmd = [...chart.Cmd, ...values.extraArgs];
    const Env = ["HOME=/home/prefect", ...values.extraEnvVars];
    const { path, state, output } = await runImage(engine, "lictor", { ...chart, Cmd, Env });
    const jobVariables = { program: ["sh", "-c", 'echo \'{"message": "done"}\' >$LICTOR_RESULT_FILE'] };
    const deployment = await api.createDeployment({ flowName: "echo", name: pool, workPool: pool, jobVariables });
    const { id } = await api.createFlowRun(deployment);
    const { flowRun } = await api.waitForState(id, ["COMPLETED"], engineTimeoutMs);
    expect(flowRun.state?.message).toBe("done");
    await engine.request("POST", `${path}/stop?t=60`);
    expect(await state()).toMatchObject({ Status: "exited", ExitCode: 0 });
    // Without a directory for its journal, the worker would say so.
    expect(await output()).not.toContain("LICTOR_STATE_DIR");
  });
});

/** What docs/deploy/helm-values.yaml adds to the chart's own arguments and variables. */
async function readHelmValues(): Promise<{ extraArgs: string[]; extraEnvVars: string[] }> {
  const text = await readFile(inCheckout("docs/deploy/helm-values.yaml"), "utf8");
  const { worker } = load(text) as {
    worker: { extraArgs: string[]; extraEnvVars: { name: string; value: string }[] };
  };
  const extraEnvVars = worker.extraEnvVars.map(({ name, value }) => `${name}=${value}`);
  return { extraArgs: worker.extraArgs, extraEnvVars };
}
