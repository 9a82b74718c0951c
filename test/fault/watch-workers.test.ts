// Which workers come before this one: those that the server lists as online.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { type WatchTimes, watchWorkers } from "../../src/worker/watch-workers.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openWorker } from "./channel-worker.ts";
import { untilTheEnd } from "./test-socket.ts";

const listPath = "POST /api/work_pools/p/workers/filter";
const pool = { id: "", name: "p", type: "process", base_job_template: {}, is_paused: false };

/** Starts the watch of a worker of all queues, unless some are named. One answer is for all requests. */
async function startWatch(answer: AnswerStep | AnswerStep[], workQueueNames: string[] = [], times: WatchTimes = {}) {
  const steps = Array.isArray(answer) ? answer : [{ ...answer, always: true } as const];
  const server = await startScriptedServer({ http: { [listPath]: steps } });
  const { worker, client } = openWorker(server.url, { workQueueNames });
  worker.pool.current = { ...pool, concurrency_limit: null, status: null };
  const stop = new AbortController();
  const ended = watchWorkers(worker, stop.signal, times);
  const dispose = async () => {
    stop.abort();
    await ended;
    client[Symbol.dispose]();
    await server.stop();
  };
  return { server, worker, ended, [Symbol.asyncDispose]: dispose };
}

test("a worker leaves flow runs to those that the server lists as online", async () => {
  const others = Array.from({ length: 9 }, (_, index) => ({ name: `other-${index}`, status: "ONLINE" }));
  await using watch = await startWatch({ body: [...others, { name: "w", status: "ONLINE" }] });
  const ids = Array.from({ length: 100 }, () => randomUUID());
  const isDelayed = (id: string) => watch.worker.claimOrder.delayMs(id) > 0;
  expect(ids.filter(isDelayed)).toEqual([]);
  await waitFor(() => ids.some(isDelayed), { timeoutMs: 20_000, what: "the list to be known" });
  // First for one in ten on average.
  expect(ids.filter(isDelayed).length).toBeGreaterThan(70);
  expect(JSON.parse(watch.server.requests[0]?.body ?? "")).toMatchObject({ workers: { status: { any_: ["ONLINE"] } } });
});

test("a worker that is not listed any more causes a sweep", async () => {
  const [all, left] = [["w", "other"], ["w"]].map((names) => ({
    body: names.map((name) => ({ name, status: "ONLINE" })),
  }));
  await using watch = await startWatch([all as AnswerStep, { ...left, always: true }], [], {
    firstReadMs: 0,
    intervalMs: 10,
    idleMs: 100,
  });
  expect(await watch.worker.sweepWake.sleep(30_000, untilTheEnd)).toBe("pool");
  expect(watch.server.requests.length).toBeGreaterThan(1);
});

test("a worker of some work queues asks for no list and waits for nobody", async () => {
  await using watch = await startWatch({ body: [{ name: "other", status: "ONLINE" }] }, ["a"]);
  await watch.ended;
  expect(watch.server.requests).toEqual([]);
});

test("a list that cannot be read delays nothing and ends nothing", async () => {
  await using watch = await startWatch({ status: 422, body: { detail: "no" } });
  await waitFor(() => watch.server.requests.length > 0, { timeoutMs: 20_000, what: "the list to be asked for" });
  expect(watch.worker.claimOrder.delayMs(randomUUID())).toBe(0);
});

const list = { body: [{ name: "other", status: "ONLINE" }] };

test("the list is read rarely while no flow run comes", async () => {
  await using watch = await startWatch(list, [], { firstReadMs: 0, intervalMs: 10, idleMs: 1_000 });
  const { requests } = watch.server;
  await waitFor(() => requests.length > 1, { timeoutMs: 20_000, what: "the second reading" });
  const [first, second] = requests.map(({ atMs }) => atMs);
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThan(900);
});

test("the list is read within an interval when a flow run comes", async () => {
  await using watch = await startWatch(list, [], { firstReadMs: 0, intervalMs: 10, idleMs: 3_600_000 });
  const { worker, server } = watch;
  const ids = Array.from({ length: 100 }, () => randomUUID());
  const isRead = () => ids.some((id) => worker.claimOrder.rank(id) > 0);
  await waitFor(isRead, { timeoutMs: 20_000, what: "the first list" });
  worker.runs.expected.announce(randomUUID(), 0);
  await waitFor(() => server.requests.length === 2, { timeoutMs: 20_000, what: "the second reading" });
});

test("a list that could not be read is read again after an interval", async () => {
  await using watch = await startWatch({ status: 422 }, [], { firstReadMs: 0, intervalMs: 10, idleMs: 3_600_000 });
  await waitFor(() => watch.server.requests.length > 2, { timeoutMs: 20_000, what: "the third reading" });
});
