// What the worker channel says of the work pool, in odd orders.
import { describe, expect, test } from "vitest";
import { syncLoop } from "../../src/worker/sync-loop.ts";
import { snapshotFrame, snapshotPool } from "../support/channel-frames.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import type { SocketStep } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { waitFor } from "../support/wait-for.ts";
import { acceptHello, openWorker, runChannel, startChannelServer } from "./channel-worker.ts";
import { countingRandom } from "./test-client.ts";

const soon = { timeoutMs: 10_000, intervalMs: 5 };

describe("snapshots", () => {
  test("replace the work pool in the order of their sequence, which each connection begins anew", async () => {
    let connection: ScriptedSocket | undefined;
    const open: SocketStep = {
      async play(socket) {
        await acceptHello(socket);
        connection = socket;
        await socket.closed;
      },
    };
    await using server = await startChannelServer([open, open]);
    await using channel = runChannel(server);
    const limitBecomes = async (limit: number | null) =>
      await waitFor(
        () => channel.worker.sockets.channelHealthy && channel.worker.pool.current?.concurrency_limit === limit,
        {
          ...soon,
          what: `a limit of ${limit}`,
        },
      );
    await limitBecomes(null);
    connection?.send(snapshotFrame(3, { concurrency_limit: 3 }));
    connection?.send(snapshotFrame(2, { concurrency_limit: 2 }));
    connection?.send(snapshotFrame(3, { concurrency_limit: 33 }));
    await limitBecomes(3);
    connection?.send(snapshotFrame(4, { concurrency_limit: 4 }));
    await limitBecomes(4);
    connection?.destroy();
    await limitBecomes(null);
    connection?.send(snapshotFrame(2, { concurrency_limit: 22 }));
    await limitBecomes(22);
  });

  test("of a pool without a template give it the default, which the server is to be given", async () => {
    const bare = { ...snapshotPool, base_job_template: {} };
    const initial_snapshot = { snapshot_sequence: 1, reason: "initial", work_pool: bare };
    await using server = await startChannelServer([
      {
        async play(socket) {
          await acceptHello(socket, { initial_snapshot });
          await socket.closed;
        },
      },
    ]);
    await using channel = runChannel(server);
    const { worker } = channel;
    await waitFor(() => worker.sockets.channelHealthy, { ...soon, what: "the channel" });
    expect(worker.pool.current?.base_job_template).toEqual(worker.poolType.baseJobTemplate);
    expect(worker.pool.missingTemplate).toEqual(worker.poolType.baseJobTemplate);
  });

  test("are newer than what REST read when they came", async () => {
    await using server = await startChannelServer([], { "GET /api/work_pools/p": [{ body: snapshotPool }] });
    let whileReading: () => void = () => undefined;
    await using proxy = await startReverseProxy(`${server.url}/api`, {
      onRequest: () => {
        whileReading();
        return undefined;
      },
    });
    const turns = countingRandom();
    const { worker, client } = openWorker(new URL(proxy.apiUrl).origin, turns);
    const newer = { ...snapshotPool, concurrency_limit: 2 };
    whileReading = () => {
      worker.pool.current = newer;
      worker.sockets.channelHealthy = true;
    };
    const stop = new AbortController();
    worker.sockets.channelTried.wake("connected");
    const syncing = syncLoop(worker, stop.signal);
    await waitFor(() => turns.draws === 1, { ...soon, what: "the first turn" });
    stop.abort();
    await syncing;
    client[Symbol.dispose]();
    expect(worker.pool.current).toBe(newer);
    expect(proxy.requests.map(({ method }) => method)).toEqual(["GET"]);
  });
});
