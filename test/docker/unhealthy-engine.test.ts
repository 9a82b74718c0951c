// Docker work pools with an engine that does what a healthy one will not do. Server and worker are real.
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { DockerEngine } from "../support/engine-program.ts";
import { type Answer, type FakeEngine, failure, frame, json, startFakeEngine } from "../support/fake-engine.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { endOf, logsOf, newDockerPool, runShell, startDockerWorker } from "./docker-pool.ts";

/** The one container of an engine. */
interface Container {
  id: string;
  labels: Record<string, string>;
  status: string;
  exitCode: number;
}

const id = "c".repeat(64);

/** An engine that has all images, and runs containers that end at once with this exit code. */
async function startWorkingEngine(exitCode: number) {
  const containers: Container[] = [];
  const details: Answer = (response, request) => {
    const container = containers[0];
    if (!container) return failure(404, "No such container: x")(response, request);
    json({
      Id: container.id,
      Created: "2026-01-01T00:00:00Z",
      Name: "/fake",
      State: { Status: container.status, ExitCode: container.exitCode, OOMKilled: false, Error: "", FinishedAt: "" },
      Config: { Labels: container.labels, Tty: false },
      HostConfig: {},
    })(response, request);
  };
  const create: Answer = (response, request) => {
    const { Labels } = JSON.parse(request.body) as { Labels: Record<string, string> };
    containers.push({ id, labels: Labels, status: "created", exitCode });
    json({ Id: id })(response, request);
  };
  const fake = await startFakeEngine({
    "GET /images/localhost/busybox:1/json": json({}),
    "POST /containers/create": create,
    "GET /containers/json": (response, request) =>
      json(containers.map(({ labels, status }) => ({ Id: id, State: status, Labels: labels, Created: 0 })))(
        response,
        request,
      ),
    [`GET /containers/${id}/json`]: details,
    [`POST /containers/${id}/start`]: (response) => {
      for (const container of containers) container.status = "exited";
      response.writeHead(204).end();
    },
    [`GET /containers/${id}/logs`]: (response) =>
      void response.writeHead(200).end(frame(1, "2026-01-01T00:00:00.000000001Z words\n")),
    [`DELETE /containers/${id}`]: (response) => {
      containers.pop();
      response.writeHead(204).end();
    },
    "GET /events": (response, { query }) =>
      query.has("until")
        ? json({ Type: "container", Action: "create" })(response, {} as never)
        : void response.writeHead(200).flushHeaders(),
  });
  return Object.assign(fake, { containers, create });
}

const count = ({ requests }: FakeEngine, path: string) => requests.filter((request) => request.path === path).length;

/** A pool for this engine. */
const poolOf = async (fake: FakeEngine) => await newDockerPool({ host: fake.host } as DockerEngine);

describe("with an engine", { timeout: 240_000 }, () => {
  test.concurrent("whose answer to a create call is lost, one container is created", async () => {
    await using fake = await startWorkingEngine(3);
    fake.answers["POST /containers/create"] = (response, request) => {
      fake.create({ writeHead: () => ({ end: () => undefined }) } as never, request);
      response.socket?.destroy();
    };
    const pool = await poolOf(fake);
    await using worker = await startDockerWorker(pool);
    const run = await runShell(pool, "exit 3");
    expect((await endOf(pool, run, "CRASHED")).message).toContain("status code 3");
    expect(count(fake, "/containers/create")).toBe(1);
    await worker.waitForOutput(/The Docker engine answers again/, 5_000);
  });

  test.concurrent("that is away between the claim and the start, the flow run stays claimed and is started", async () => {
    await using fake = await startWorkingEngine(4);
    let isDown = true;
    const start = fake.answers[`POST /containers/${id}/start`] as Answer;
    fake.answers[`POST /containers/${id}/start`] = (response, request) =>
      isDown ? void response.socket?.destroy() : start(response, request);
    const pool = await poolOf(fake);
    await using worker = await startDockerWorker(pool);
    const run = await runShell(pool, "exit 4");
    await worker.waitForOutput(/Cannot reach the Docker engine/, 60_000);
    await delay(1_500);
    expect((await pool.api.readFlowRun(run)).state_type).toBe("PENDING");
    isDown = false;
    expect((await endOf(pool, run, "CRASHED")).message).toContain("status code 4");
  });

  test.concurrent("that dies with its worker before the container exists, the flow run is scheduled again", async () => {
    await using fake = await startWorkingEngine(5);
    await using state = await makeTemporaryDirectory("lictor-state-");
    const env = { LICTOR_STATE_DIR: state.path };
    const pool = await poolOf(fake);
    fake.answers["POST /containers/create"] = () => {};
    await using first = await startDockerWorker(pool, { env });
    const run = await runShell(pool, "exit 5");
    await waitFor(() => count(fake, "/containers/create") === 1, { timeoutMs: 60_000, what: "the create call" });
    first.signal("SIGKILL");
    await first.exited;
    fake.answers["POST /containers/create"] = fake.create;
    await using _next = await startDockerWorker(pool, { env });
    const { states, message } = await endOf(pool, run, "CRASHED");
    expect(message).toContain("status code 5");
    expect(states.filter((name) => name === "Pending")).toHaveLength(2);
  });

  test.concurrent("whose worker died before the start of its container, that one is removed", async () => {
    await using fake = await startWorkingEngine(6);
    await using state = await makeTemporaryDirectory("lictor-state-");
    const env = { LICTOR_STATE_DIR: state.path };
    const pool = await poolOf(fake);
    const start = fake.answers[`POST /containers/${id}/start`] as Answer;
    fake.answers[`POST /containers/${id}/start`] = () => {};
    await using first = await startDockerWorker(pool, { env });
    const run = await runShell(pool, "exit 6");
    await waitFor(() => count(fake, `/containers/${id}/start`) === 1, { timeoutMs: 60_000, what: "the start" });
    first.signal("SIGKILL");
    await first.exited;
    fake.answers[`POST /containers/${id}/start`] = start;
    await using _next = await startDockerWorker(pool, { env });
    const { states } = await endOf(pool, run, "CRASHED");
    expect(states.filter((name) => name === "Pending")).toHaveLength(2);
    expect(fake.requests.some(({ method }) => method === "DELETE")).toBe(true);
  });

  test.concurrent("that pulls slowly, the log shows the progress, and a cancellation ends the pull", async () => {
    await using fake = await startWorkingEngine(7);
    let isClosed = false;
    fake.answers["POST /images/create"] = (response) => {
      response.writeHead(200);
      response.on("close", () => {
        isClosed = true;
      });
      const line = { id: "a", status: "Downloading", progressDetail: { current: 1024, total: 2048 } };
      const timer = setInterval(() => response.write(`${JSON.stringify(line)}\n`), 500);
      response.on("close", () => clearInterval(timer));
    };
    const pool = await poolOf(fake);
    await using _worker = await startDockerWorker(pool);
    const run = await runShell(pool, "exit 7", { image: "registry.example/x:latest" });
    await logsOf(pool, run, /Still pulling image 'registry.example\/x:latest': 0 of 1 layers, 1 KiB of 2 KiB/);
    await pool.api.setState(run, "CANCELLING");
    const { message } = await endOf(pool, run, "CANCELLED");
    expect(message).toBe("Flow run was cancelled before execution started.");
    await waitFor(() => isClosed, { timeoutMs: 5_000, what: "the end of the pull" });
    expect(count(fake, "/containers/create")).toBe(0);
  });

  test.concurrent("whose pull fails in the middle, the reason is in the state, without the login", async () => {
    await using fake = await startWorkingEngine(8);
    fake.answers["POST /images/create"] = (response) =>
      void response
        .writeHead(200)
        .end('{"status":"Pulling from x"}\n{"error":"pull access denied for u:pass-word-1"}\n');
    const pool = await poolOf(fake);
    await using worker = await startDockerWorker(pool);
    const login = { username: "u", password: "pass-word-1", registry_url: "registry.example" };
    fake.answers["POST /auth"] = json({ Status: "Login Succeeded" });
    const run = await runShell(pool, "true", { image: "registry.example/x", registry_credentials: login });
    expect((await endOf(pool, run, "CRASHED")).message).toBe(
      "Failed to submit flow run to infrastructure: ImageError: Image 'registry.example/x' could not be pulled: pull access denied for u:********. Check the image's name, and set registry_credentials if its registry needs a login.",
    );
    await worker.waitForOutput(/pull access denied for u:\*{8}/, 5_000);
    expect(worker.stdout + worker.stderr).not.toContain("pass-word-1");
    const pull = fake.requests.find(({ path }) => path === "/images/create");
    expect(Object.fromEntries(pull?.query ?? [])).toEqual({ fromImage: "registry.example/x", tag: "latest" });
    const header = Buffer.from(String(pull?.headers["x-registry-auth"]), "base64url").toString();
    expect(JSON.parse(header)).toMatchObject({ username: "u", password: "pass-word-1" });
  });

  test.concurrent("whose disk is full, the flow run is given back", async () => {
    await using fake = await startWorkingEngine(9);
    fake.answers["POST /containers/create"] = failure(500, "write /var/lib/x: no space left on device");
    const pool = await poolOf(fake);
    await using worker = await startDockerWorker(pool);
    const run = await runShell(pool, "true");
    await worker.waitForOutput(/The disk of the Docker engine is full/, 60_000);
    const isBack = async () => (await pool.api.readFlowRun(run)).state?.message?.includes("could not start");
    await waitFor(isBack, { timeoutMs: 30_000, what: "the flow run to be Scheduled again", intervalMs: 100 });
  });

  test.concurrent("that is not there, flow runs are left to other workers", async () => {
    await using fake = await startWorkingEngine(0);
    await fake.stop();
    const pool = await poolOf(fake);
    await using worker = await startDockerWorker(pool);
    const run = await runShell(pool, "true");
    await worker.waitForOutput(/Cannot reach the Docker engine at .*ENOENT/, 60_000);
    expect((await pool.api.readFlowRun(run)).state_type).toBe("SCHEDULED");
    await fake.start();
  });
});
