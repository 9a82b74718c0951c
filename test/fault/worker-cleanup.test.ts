// Cleanup messages of the worker channel: what is ended, how the lease is kept, and what the server is told.
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { Worker } from "../../src/worker/worker.ts";
import { cleanupFrame } from "../support/channel-frames.ts";
import type { AnswerStep } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { waitFor } from "../support/wait-for.ts";
import { acceptHello, runChannel, startChannelServer, takeFlowRun } from "./channel-worker.ts";

const id = "00000000-0000-4000-8000-00000000000a";
const reservation = { message_id: "00000000-0000-5000-8000-0000000000aa", reservation_token: "token" };
const soon = { timeoutMs: 10_000, intervalMs: 5 };

/** A channel whose server knows the flow run in this state; `answer` sends a message and gives what comes back first. */
async function openChannel(stateType: string | null) {
  let connection: ScriptedSocket | undefined;
  const read: AnswerStep =
    stateType === null
      ? { status: 404, body: {}, always: true }
      : { body: { id, name: "run", state_type: stateType }, always: true };
  const server = await startChannelServer(
    [
      {
        async play(socket) {
          await acceptHello(socket);
          connection = socket;
          await socket.closed;
        },
      },
    ],
    { [`GET /api/flow_runs/${id}`]: [read] },
  );
  const channel = runChannel(server);
  const socket = await waitFor(() => connection, { ...soon, what: "the channel" });
  return {
    worker: channel.worker,
    socket,
    async answer(changes: JsonObject = {}): Promise<unknown> {
      socket.send(cleanupFrame(id, changes));
      return await socket.next();
    },
    async [Symbol.asyncDispose]() {
      await channel[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Puts the flow run in flight; `isAsked` tells whether it was asked to end, `end` lets it end. */
function putInFlight(worker: Worker) {
  let isAsked = false;
  let end: () => void = () => undefined;
  const execute = async (asked: AbortSignal): Promise<void> => {
    asked.addEventListener("abort", () => {
      isAsked = true;
    });
    await new Promise<void>((resolve) => {
      end = resolve;
    });
  };
  takeFlowRun(worker, id, execute);
  return { isAsked: () => isAsked, end: () => end() };
}

test("a flow run in flight is ended, its lease renewed meanwhile, and acknowledged, again if need be", async () => {
  await using open = await openChannel("CANCELLED");
  const run = putInFlight(open.worker);
  // The lease of a second is renewed each half.
  for (let renewals = 0; renewals < 2; renewals++) {
    expect(await (renewals === 0 ? open.answer() : open.socket.next())).toMatchObject({
      type: "cleanup.renew.v1",
      payload: reservation,
    });
  }
  expect(run.isAsked()).toBe(true);
  run.end();
  expect(await open.socket.next()).toMatchObject({ type: "cleanup.ack.v1", payload: reservation });
  expect(await open.answer({ reservation_token: "second" })).toMatchObject({
    type: "cleanup.ack.v1",
    payload: { ...reservation, reservation_token: "second" },
  });
});

test("a flow run that was scheduled again since is let be", async () => {
  await using open = await openChannel("RUNNING");
  const run = putInFlight(open.worker);
  expect(await open.answer()).toMatchObject({ type: "cleanup.ack.v1" });
  expect(run.isAsked()).toBe(false);
  run.end();
});

test("one that was deleted is done with", async () => {
  await using open = await openChannel(null);
  expect(await open.answer()).toMatchObject({ type: "cleanup.ack.v1" });
});

describe("released is", () => {
  test.each<[what: string, changes: JsonObject, reason: string]>([
    ["the process of another worker", {}, "infrastructure_not_available"],
    ["a flow run without a process", { target: { flow_run_id: id } }, "missing_infrastructure_handle"],
    ["cleanup of another kind", { kind: "pending_claim_teardown.v1" }, "unsupported_cleanup_kind"],
  ])("%s", async (_what, changes, reason) => {
    await using open = await openChannel("CANCELLED");
    expect(await open.answer(changes)).toMatchObject({
      type: "cleanup.release.v1",
      payload: { ...reservation, reason },
    });
  });
});
