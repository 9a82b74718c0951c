// The subscription to events that several workers share.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { FlowRunEvent } from "../../src/sockets/event-subscription.ts";
import { EventFeed } from "../../src/worker/event-feed.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { waitFor } from "../support/wait-for.ts";
import { recordingLogger, socketAddress } from "./test-socket.ts";

const soon = { timeoutMs: 20_000 };

/** A server that remembers its subscriptions, and a feed that is kept open. */
async function startFeed() {
  const subscriptions: { pools: string[]; socket: ScriptedSocket }[] = [];
  const play = async (socket: ScriptedSocket) => {
    await socket.acceptAuth();
    const { filter } = await socket.next<{ filter: { any_resource: { id: string[] } } }>();
    subscriptions.push({ pools: filter.any_resource.id, socket });
    await socket.closed;
  };
  const server = await startScriptedServer({ sockets: { "/api/events/out": [{ play, always: true }] } });
  const { log } = recordingLogger();
  const feed = new EventFeed({ address: socketAddress(server.url), isObserved: false, log, random: () => 0 });
  const stop = new AbortController();
  const ended = feed.run(stop.signal);
  return {
    feed,
    subscriptions,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
      await server.stop();
    },
  };
}

/** A reader, and what it was told. */
function openReader(pool: { id: string }) {
  const told = { isConnected: false, runs: [] as string[] };
  return {
    told,
    workPoolId: () => pool.id,
    onConnected: (isConnected: boolean) => {
      told.isConnected = isConnected;
    },
    onMissed: () => undefined,
    onEvent: ({ flowRunId }: FlowRunEvent) => void told.runs.push(flowRunId),
  };
}

function eventOf(poolId: string | undefined, flowRunId: string): object {
  const related = poolId === undefined ? [] : [{ "prefect.resource.id": `prefect.work-pool.${poolId}` }];
  const resource = { "prefect.resource.id": `prefect.flow-run.${flowRunId}`, "prefect.state-type": "SCHEDULED" };
  return { type: "event", event: { id: randomUUID(), occurred: new Date().toISOString(), resource, related } };
}

test("one subscription names the work pools of all workers, and each worker gets the events of its own", async () => {
  await using opened = await startFeed();
  const { feed, subscriptions } = opened;
  const [first, second] = [openReader({ id: "a" }), openReader({ id: "b" })];
  using _first = feed.join(first);
  await waitFor(() => first.told.isConnected, { ...soon, what: "the first worker to be connected" });
  {
    using _second = feed.join(second);
    // The server may read the subscription after the worker has sent it.
    const isServed = () => second.told.isConnected && subscriptions.length === 2;
    await waitFor(isServed, { ...soon, what: "the second worker to be connected" });
    expect(first.told.isConnected).toBe(true);
    expect(subscriptions.map(({ pools }) => pools)).toEqual([
      ["prefect.work-pool.a"],
      ["prefect.work-pool.a", "prefect.work-pool.b"],
    ]);
    const [ofFirst, ofSecond, ofNone] = [randomUUID(), randomUUID(), randomUUID()];
    const { socket } = subscriptions[1] as { socket: ScriptedSocket };
    for (const [pool, id] of [["a", ofFirst] as const, ["b", ofSecond] as const, [undefined, ofNone] as const])
      socket.send(eventOf(pool, id));
    await waitFor(() => second.told.runs.length === 2, { ...soon, what: "the events" });
    expect(first.told.runs).toEqual([ofFirst, ofNone]);
    expect(second.told.runs).toEqual([ofSecond, ofNone]);
  }
  expect([first.told.isConnected, second.told.isConnected]).toEqual([true, false]);
});

test("a work pool that was created again gets a new subscription", async () => {
  await using opened = await startFeed();
  const pool = { id: "old" };
  const reader = openReader(pool);
  using _reader = opened.feed.join(reader);
  await waitFor(() => reader.told.isConnected, { ...soon, what: "the worker to be connected" });
  pool.id = "new";
  await waitFor(() => opened.subscriptions.length === 2 && reader.told.isConnected, {
    ...soon,
    what: "the second one",
  });
  expect(opened.subscriptions[1]?.pools).toEqual(["prefect.work-pool.new"]);
});
