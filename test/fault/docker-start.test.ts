// The start of a container, with an engine that is lost in the middle of it.
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { type Answer, failure, json, startFakeEngine } from "../support/fake-engine.ts";
import { flowRunId, labelsOf, openFakeDocker } from "./fake-docker.ts";

const id = "c".repeat(64);
const Created = "2026-01-01T00:00:00Z";
const details = { Id: id, Created, Name: "/x", State: { Status: "running" }, Config: { Labels: {} }, HostConfig: {} };

test.each([
  ["breaks", '{"status":"Pulling"}\n{"sta'],
  ["breaks between two lines", '{"status":"Pulling"}\n'],
])("a pull whose connection %s is repeated", async (_, part) => {
  let pulls = 0;
  await using fake = await startFakeEngine({
    "POST /images/create": (response) => {
      response.writeHead(200);
      if (++pulls > 1) response.end('{"status":"Downloaded newer image"}\n');
      else response.write(part, () => response.socket?.destroy());
    },
    "POST /containers/create": json({ Id: id }),
    [`GET /containers/${id}/json`]: json(details),
    [`POST /containers/${id}/start`]: (response) => void response.writeHead(204).end(),
  });
  using docker = await openFakeDocker(fake);
  await using _execution = await docker.infrastructure.start(docker.jobOf({ image: "x" }), docker.options);
  expect(pulls).toBe(2);
  expect(docker.warnings()).toEqual([expect.stringContaining("Cannot reach the Docker engine")]);
});

test("a pull that the engine ends with an error is not repeated", async () => {
  await using fake = await startFakeEngine({
    "POST /images/create": (response) => void response.writeHead(200).end('{"error":"manifest unknown"}\n'),
    "GET /images/x/json": failure(404, "No such image: x"),
  });
  using docker = await openFakeDocker(fake);
  await expect(docker.infrastructure.start(docker.jobOf({ image: "x" }), docker.options)).rejects.toThrow(
    "Image 'x' could not be pulled: manifest unknown.",
  );
});

test.each<[string, Answer, unknown]>([
  ["has ended", json({ ...details, State: { Status: "exited", ExitCode: 3 } }), { kind: "exited", status: 3 }],
  ["has ended and was removed", failure(404, `No such container: ${id}`), { kind: "gone", mayHaveBegun: true }],
])("a container that %s before the response to its start arrived is not started again", async (_, after, ending) => {
  let starts = 0;
  await using fake = await startFakeEngine({
    "POST /containers/create": json({ Id: id }),
    [`GET /containers/${id}/json`]: json({ ...details, State: { Status: "created" } }),
    [`POST /containers/${id}/start`]: (response) => {
      starts++;
      fake.answers[`GET /containers/${id}/json`] = after;
      response.socket?.destroy();
    },
  });
  using docker = await openFakeDocker(fake);
  const job = docker.jobOf({ image_pull_policy: "Never" });
  await using execution = await docker.infrastructure.start(job, docker.options);
  expect(await execution.ended).toMatchObject(ending as object);
  expect(starts).toBe(1);
});

test.each([
  ["whose flow run has begun", {}, false, /does not know how its program ended/],
  ["whose program reports nothing", { command: "true" }, true, /does not know whether its program was executed/],
])("a container %s is not started again although its engine takes it for unstarted", async (...row) => {
  const [, fields, isAwaited, why] = row;
  let starts = 0;
  const removed: string[] = [];
  await using fake = await startFakeEngine({
    "POST /containers/create": json({ Id: id }),
    [`GET /containers/${id}/json`]: json({ ...details, State: { Status: "created" } }),
    [`POST /containers/${id}/start`]: (response) => {
      starts++;
      response.socket?.destroy();
    },
    // It was started again since, and remembers nothing.
    "GET /events": (response) => void response.writeHead(200).end(),
    [`DELETE /containers/${id}`]: (response, { path }) => {
      removed.push(path);
      response.writeHead(204).end();
    },
  });
  using docker = await openFakeDocker(fake);
  const options = { ...docker.options, isAwaited: async () => isAwaited || starts === 0 };
  const job = docker.jobOf({ image_pull_policy: "Never", ...fields });
  await using execution = await docker.infrastructure.start(job, options);
  expect(await execution.ended).toMatchObject({ kind: "gone", why: expect.stringMatching(why), mayHaveBegun: true });
  expect([starts, removed]).toEqual([1, [`/containers/${id}`]]);
});

test.each<[string, Answer]>([
  ["was away at first", failure(503, "the engine is starting")],
  ["did not get the first request, as it knows because it has not ended since", (r) => void r.socket?.destroy()],
])("a program that reports nothing is started by an engine that %s", async (_, first) => {
  let starts = 0;
  await using fake = await startFakeEngine({
    "POST /containers/create": json({ Id: id }),
    [`GET /containers/${id}/json`]: json({ ...details, State: { Status: "created" } }),
    "GET /events": (response, request) => {
      const { since, until, filters } = Object.fromEntries(request.query);
      if (until === undefined) return void response.writeHead(200).flushHeaders();
      expect([since, until]).toEqual(["1767225598", "1767225602"]);
      expect(JSON.parse(filters ?? "")).toEqual({ type: ["container"], container: [id], event: ["create"] });
      json({ Action: "create" })(response, request);
    },
    [`POST /containers/${id}/start`]: (response, request) => {
      if (++starts === 1) return first(response, request);
      fake.answers[`GET /containers/${id}/json`] = json(details);
      response.writeHead(204).end();
    },
  });
  using docker = await openFakeDocker(fake);
  const job = docker.jobOf({ image_pull_policy: "Never", command: "true" });
  await using execution = await docker.infrastructure.start(job, docker.options);
  expect([starts, execution.handle.identifier]).toEqual([2, `http+docker://localhost:${id}`]);
});

test.each<[string, Answer, number]>([
  ["before its container was prepared is started", failure(404, "Could not find the file /.lictor in container"), 2],
  ["after its container was prepared is not started again", json({}), 1],
])("a program that reports nothing and whose engine died %s", async (_, mark, expected) => {
  let starts = 0;
  await using fake = await startFakeEngine({
    "POST /containers/create": (response, request) => {
      const { HostConfig } = JSON.parse(request.body) as { HostConfig: { Tmpfs: object } };
      expect(HostConfig.Tmpfs).toEqual({ "/data": "", "/.lictor": "ro,size=4k" });
      fake.answers[`GET /containers/${id}/json`] = json({ ...details, State: { Status: "created" }, HostConfig });
      json({ Id: id })(response, request);
    },
    "GET /events": (response) => void response.writeHead(200).end(),
    [`HEAD /containers/${id}/archive`]: (response, request) => {
      expect(request.query.get("path")).toBe("/.lictor");
      mark(response, request);
    },
    [`DELETE /containers/${id}`]: (response) => void response.writeHead(204).end(),
    [`POST /containers/${id}/start`]: (response) => {
      if (++starts === 1) return response.socket?.destroy();
      fake.answers[`GET /containers/${id}/json`] = json(details);
      response.writeHead(204).end();
    },
  });
  using docker = await openFakeDocker(fake);
  const tmpfs = { container_create_kwargs: { tmpfs: ["/data"] } };
  const job = docker.jobOf({ image_pull_policy: "Never", command: "true", ...tmpfs });
  await using execution = await docker.infrastructure.start(job, docker.options);
  expect(starts).toBe(expected);
  if (expected === 1) expect(await execution.ended).toMatchObject({ kind: "gone", mayHaveBegun: true });
});

test.each([
  ["that the engine still executes", false],
  ["whose response is lost", true],
])("a cancellation during a create call %s leaves no container", async (_, isLost) => {
  const cancel = new AbortController();
  let isCreated = false;
  const removed: string[] = [];
  await using fake = await startFakeEngine({
    "POST /containers/create": (response, request) => {
      isCreated = true;
      cancel.abort("cancelled");
      if (isLost) response.socket?.destroy();
      else setTimeout(() => json({ Id: id })(response, request), 100);
    },
    "GET /containers/json": (response, request) =>
      json(isCreated ? [{ Id: id, State: "created", Labels: labelsOf(), Created: 0 }] : [])(response, request),
    [`DELETE /containers/${id}`]: (response, { path }) => {
      removed.push(path);
      response.writeHead(204).end();
    },
  });
  using docker = await openFakeDocker(fake);
  const job = docker.jobOf({ image_pull_policy: "Never" });
  const started = docker.infrastructure.start(job, { ...docker.options, signal: cancel.signal });
  await expect(started).rejects.toBe("cancelled");
  expect(removed).toEqual([`/containers/${id}`]);
});

/** An engine that dies while it starts the first container, and leaves something in the way. */
async function startHalfStarting() {
  const ids = ["a".repeat(64), "b".repeat(64)];
  const created = { ...details, State: { Status: "created" } };
  let creations = 0;
  let starts = 0;
  const fake = await startFakeEngine({
    "POST /containers/create": (response, request) => json({ Id: ids[creations++] })(response, request),
    [`GET /containers/${ids[0]}/json`]: json(created),
    [`GET /containers/${ids[1]}/json`]: json({ ...details, Id: ids[1] }),
    [`POST /containers/${ids[0]}/start`]: (response, request) =>
      starts++ === 0
        ? void response.socket?.destroy()
        : failure(500, `task ${ids[0]}: already exists: unknown`)(response, request),
    [`POST /containers/${ids[1]}/start`]: (response) => void response.writeHead(204).end(),
    [`DELETE /containers/${ids[0]}`]: (response) => void response.writeHead(204).end(),
  });
  return Object.assign(fake, { ids });
}

test("a container whose engine died while it started it is replaced by another one", async () => {
  await using fake = await startHalfStarting();
  const { ids } = fake;
  using docker = await openFakeDocker(fake);
  const job = docker.jobOf({ image_pull_policy: "Never" });
  await using execution = await docker.infrastructure.start(job, docker.options);
  expect(execution.handle.identifier).toBe(`http+docker://localhost:${ids[1]}`);
  expect(docker.handles.at(-1)).toEqual(execution.handle);
  expect(fake.requests.filter(({ method }) => method === "DELETE").map(({ path }) => path)).toEqual([
    `/containers/${ids[0]}`,
  ]);
});

test.runIf(process.platform === "linux")("but not if its program is seen on this machine", async () => {
  await using fake = await startHalfStarting();
  using docker = await openFakeDocker(fake);
  const program = spawn("sleep", ["60"], { env: { ...process.env, PREFECT__FLOW_RUN_ID: flowRunId } });
  try {
    const start = docker.infrastructure.start(docker.jobOf({ image_pull_policy: "Never" }), docker.options);
    await expect(start).rejects.toThrow(/Container could not be started: task a+: already exists/);
    expect(fake.requests.filter(({ path }) => path === "/containers/create")).toHaveLength(1);
  } finally {
    program.kill();
  }
});
