// Turns events of the server into acts of the worker: a scheduled flow run wakes the poll, a cancelling one is ended.

import { monotonicMs, wallClockMs } from "../async/clock.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import type { Socket, SocketAddress } from "../sockets/connect.ts";
import {
  type FlowRunEvent,
  parseFlowRunEvent,
  stateTypesToActUpon,
  stateTypesToLookAt,
  subscribeToFlowRuns,
} from "../sockets/event-subscription.ts";
import { keepConnected } from "../sockets/keep-connected.ts";
import { SocketError } from "../sockets/socket-error.ts";
import type { Worker } from "./worker.ts";

/** Ids of events already acted on, so that what is replayed after a reconnection wakes nobody twice. */
const rememberedEvents = 2000;
/** The server may miss what happens while it sets up the subscription, so one looks again after it. */
const blindMs = 1500;
/** A worker that started without its server learns of its work pool some time. */
const poolCheckMs = 500;
/** One that was deleted is created anew at the earliest when it is read again. */
const samePoolCheckMs = 5000;

/** Watches events until `signal` aborts; never throws. Without the socket flow runs are found by polling. */
export async function watchEvents(worker: Worker, address: SocketAddress, signal: AbortSignal): Promise<void> {
  const seen = new Set<string>();
  const types = worker.options.isObserved ? [...stateTypesToActUpon, ...stateTypesToLookAt] : stateTypesToActUpon;
  while (!worker.pool && !signal.aborted) await sleep(poolCheckMs, signal);
  let poolId = "";
  await keepConnected(
    {
      name: "the events stream (/events/out)",
      meanwhile: "flow runs are found by polling",
      open: (opening) => {
        poolId = worker.workPool().id;
        return subscribeToFlowRuns(address, poolId, types, opening);
      },
      serve: async (socket, serving) => {
        worker.eventCounts.connections++;
        setConnected(worker, true);
        try {
          await runTogether(serving, [
            (reading) => readEvents(worker, socket, seen, reading),
            (waiting) => lookAgain(worker, waiting),
            (watching) => watchPool(worker, poolId, watching),
          ]);
        } finally {
          setConnected(worker, false);
        }
      },
      log: worker.log,
      random: worker.dependencies.random,
    },
    signal,
  );
}

/** Of a work pool that was created anew, a subscription to the old one tells nothing. Throws SocketError. */
async function watchPool(worker: Worker, poolId: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && worker.pool?.id === poolId) await sleep(samePoolCheckMs, signal);
  if (!signal.aborted) throw new SocketError("the work pool was created anew");
}

function setConnected(worker: Worker, connected: boolean): void {
  worker.eventsConnected = connected;
  worker.eventsChanged.wake("connected");
}

async function readEvents(worker: Worker, socket: Socket, seen: Set<string>, signal: AbortSignal): Promise<void> {
  const since = wallClockMs();
  for await (const frame of socket.frames(signal)) {
    const event = parseFlowRunEvent(frame);
    if (!event) continue;
    worker.eventCounts.observed++;
    note(worker, event, since);
    if (!stateTypesToActUpon.includes(event.stateType) || seen.has(event.id)) continue;
    seen.add(event.id);
    for (const oldest of seen) {
      if (seen.size <= rememberedEvents) break;
      seen.delete(oldest);
    }
    act(worker, event, Date.parse(event.occurred) < since);
  }
  if (!signal.aborted) throw new SocketError("closed by the server");
}

/** Keeps what the event tells. What occurred before `since` was replayed and says nothing about the way of events. */
function note(worker: Worker, event: FlowRunEvent, since: number): void {
  const { flowRunId, stateType, stateName, occurred } = event;
  const occurredAt = Date.parse(occurred);
  const lagMs = wallClockMs() - occurredAt;
  if (occurredAt >= since) worker.eventLagMs = lagMs;
  worker.log.debug({ flow_run_id: flowRunId, state_type: stateType, lag_ms: lagMs }, "event");
  worker.activity.hear(flowRunId, { type: stateType, name: stateName, timestamp: occurred });
}

function act(worker: Worker, event: FlowRunEvent, wasBefore: boolean): void {
  const { workQueueNames } = worker.options;
  if (event.stateType === "CANCELLING") {
    // It may be about an earlier attempt: a replayed event is only a reason to look.
    if (wasBefore) worker.eventsChanged.wake("event");
    else worker.inFlight.end(event.flowRunId, { kind: "cancel" });
  } else if (event.stateType === "PENDING") {
    if (!wasBefore && !worker.inFlight.has(event.flowRunId)) worker.announced.claimed(event.flowRunId, monotonicMs());
  } else if (workQueueNames.length === 0 || workQueueNames.includes(event.workQueueName ?? "")) {
    worker.announced.announce(event.flowRunId, monotonicMs());
    worker.wake.wake("event");
  }
}

async function lookAgain(worker: Worker, signal: AbortSignal): Promise<void> {
  worker.wake.wake("connected");
  await sleep(blindMs, signal);
  if (signal.aborted) return;
  worker.wake.wake("connected");
  worker.eventsChanged.wake("connected");
}
