// The worker's events where the server has limits: what does not fit is left out, and never blocks what comes behind.
import { randomUUID } from "node:crypto";
import { expect, inject, test } from "vitest";
import type { FlowRun, JsonObject, PrefectEvent, WorkPool } from "../../src/api/wire.ts";
import { WorkerEvents } from "../../src/run/worker-events.ts";
import { EventPublisher } from "../../src/sockets/event-publisher.ts";
import { StoredEvents } from "../../src/sockets/stored-events.ts";
import { openTestClient } from "../fault/test-client.ts";
import { recordingLogger, socketAddress } from "../fault/test-socket.ts";
import type { EventRecord, PrefectApi } from "../support/prefect-api.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const soon = { timeoutMs: 30_000, intervalMs: 200 };

/** A command ends sooner than an engine. */
const quick = { command: "true" };

/** Waits for the first event of that name about the resource. */
async function waitForEvent(api: PrefectApi, event: string, resourceId: string): Promise<EventRecord> {
  const filter = { event: { name: [event] }, any_resource: { id: [resourceId] } };
  return await waitFor(async () => (await api.readEvents(filter))[0], { ...soon, what: `${event} of ${resourceId}` });
}

test("a flow run with more tags than an event may name is told of with as many as fit", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello", { jobVariables: quick });
  // The server fails over such a flow run itself, so the limit is set for the worker only.
  const env = { PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: "10" };
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env });
  const tags = Array.from({ length: 20 }, (_, index) => `tag-${index}`);
  const { id } = await api.createFlowRun(deployment, { tags });
  const { related } = await waitForEvent(api, "prefect.worker.submitted-flow-run", `prefect.flow-run.${id}`);
  expect(related).toHaveLength(10);
  const roles = related.map((resource) => resource["prefect.resource.role"]);
  expect(roles.filter((role) => role !== "tag").sort()).toEqual(["deployment", "flow", "flow-run", "work-pool"]);
  expect(worker.stderr.match(/names only 10 of its 24 related resources/g)).toHaveLength(1);
});

test("an event that a real server refuses is dropped, and those behind it are stored", async () => {
  needsPrefect("3.3.7", "the limit of related resources in POST /events");
  const api = sharedApi();
  const { log, warnings } = recordingLogger();
  const { origin } = new URL(inject("apiUrl"));
  using client = openTestClient(origin);
  const limits = {
    PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: 1000,
    PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE: 500,
    PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES: 1_500_000,
  };
  const publisher = new EventPublisher({
    address: socketAddress(origin),
    isCloud: false,
    api: client,
    limits,
    log,
    random: () => 0,
  });
  const stop = new AbortController();
  const running = publisher.run(stop.signal);
  const name = `w-${randomUUID()}`;
  const events = new WorkerEvents({ name, slug: name, type: "process" }, (event) => {
    const related = Array.from({ length: event.event.endsWith("submitted-flow-run") ? 101 : 1 }, (_, index) => ({
      "prefect.resource.id": `prefect.tag.${index}`,
      "prefect.resource.role": "tag",
    }));
    publisher.emit({ ...event, related });
  });
  const started = events.started(undefined);
  const flowRun = { id: randomUUID(), name: "r", tags: [] } as unknown as FlowRun;
  events.submitted({ flowRun, flow: null, deployment: null, workPool: { id: randomUUID(), name: "p" } as WorkPool });
  events.stopped(undefined, started);
  await waitForEvent(api, "prefect.worker.stopped", `prefect.worker.process.${name}`);
  stop.abort();
  await running;
  const stored = await api.readEvents({ any_resource: { id: [`prefect.worker.process.${name}`] } });
  expect(stored.map(({ event }) => event)).toEqual(["prefect.worker.started", "prefect.worker.stopped"]);
  expect(warnings()).toEqual([
    expect.stringMatching(
      /^The server refused the event 'prefect\.worker\.submitted-flow-run' \(.*\), which is dropped: 422 /,
    ),
  ]);
});

test("an event that is sent twice is stored once", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--name", `${pool}-worker`] });
  const resource = `prefect.worker.process.${pool}-worker`;
  const started = await waitForEvent(api, "prefect.worker.started", resource);
  const { id, occurred, event, resource: sender, related, payload } = started as EventRecord & { payload: object };
  await api.request("POST", "/events", [{ id, occurred, event, resource: sender, related, payload }]);
  worker.signal("SIGTERM");
  await worker.exited;
  await waitForEvent(api, "prefect.worker.stopped", resource);
  const stored = await api.readEvents({ any_resource: { id: [resource] } });
  expect(stored.map((each) => each.event)).toEqual(["prefect.worker.started", "prefect.worker.stopped"]);
});

test("the end of a worker sends events that the server lost, and none is stored twice", async () => {
  const api = sharedApi();
  const { log } = recordingLogger();
  const { origin } = new URL(inject("apiUrl"));
  using client = openTestClient(origin);
  const emitted: PrefectEvent[] = [];
  const name = `w-${randomUUID()}`;
  const events = new WorkerEvents({ name, slug: name, type: "process" }, (event) => emitted.push(event));
  events.stopped(undefined, events.started(undefined));
  const stored = new StoredEvents(client, log);
  stored.observe(emitted);
  // The server has the first event and will store it within seconds. It never got the second one.
  const [started, stopped] = emitted.map((event) => ({ ...event }) as unknown as JsonObject);
  await api.request("POST", "/events", [started]);
  await stored.finish(AbortSignal.timeout(10_000));
  const resource = `prefect.worker.process.${name}`;
  const found = await waitForEvent(api, "prefect.worker.stopped", resource);
  expect(found.id).toBe(stopped?.id);
  await waitForEvent(api, "prefect.worker.started", resource);
  const all = await api.readEvents({ any_resource: { id: [resource] } });
  expect(all.map(({ event }) => event)).toEqual(["prefect.worker.started", "prefect.worker.stopped"]);
});

test("a worker that ends soon after a flow run sends its events again, and each is stored once", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello", { jobVariables: quick });
  // Whatever the server has stored by then, all events are sent again.
  const nothingStored = { status: 200, headers: { "content-type": "application/json" }, body: '{"events":[]}' };
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: ({ path }) => (path === "/events/filter" ? nothingStored : undefined),
  });
  await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, args: ["--name", `${pool}-worker`] });
  await api.createFlowRun(deployment);
  await worker.waitForOutput(/submitted to infrastructure/, 30_000);
  worker.signal("SIGTERM");
  expect((await worker.exited).code).toBe(0);
  const resource = `prefect.worker.process.${pool}-worker`;
  await waitForEvent(api, "prefect.worker.stopped", resource);
  const again = proxy.requests.filter(({ method, path }) => `${method} ${path}` === "POST /events");
  expect(again.flatMap(({ body }) => JSON.parse(body) as EventRecord[])).toHaveLength(4);
  const stored = await api.readEvents({ any_resource: { id: [resource] } });
  expect(stored.map(({ event }) => event)).toEqual([
    "prefect.worker.started",
    "prefect.worker.submitted-flow-run",
    "prefect.worker.executed-flow-run",
    "prefect.worker.stopped",
  ]);
});

test("events of a worker whose socket is refused are stored when it has stopped", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onUpgrade: ({ path }) => (path === "/events/in" ? 403 : undefined),
  });
  await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, args: ["--name", `${pool}-worker`] });
  await waitFor(() => proxy.count("UPGRADE", "/events/in") > 0, { ...soon, what: "the refused socket" });
  worker.signal("SIGTERM");
  expect((await worker.exited).code).toBe(0);
  const resource = `prefect.worker.process.${pool}-worker`;
  await waitForEvent(api, "prefect.worker.stopped", resource);
  const stored = await api.readEvents({ any_resource: { id: [resource] } });
  expect(stored.map(({ event }) => event)).toEqual(["prefect.worker.started", "prefect.worker.stopped"]);
});
