// Acts on events of the server: a scheduled flow run wakes the poll loop, a flow run that is Cancelling is stopped.

import { monotonicMs, wallClockMs } from "../async/clock.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import {
  type FlowRunEvent,
  handledStateTypes,
  observedStateTypes,
  parseFlowRunEvent,
  subscribeToFlowRuns,
} from "../sockets/event-subscription.ts";
import { keepConnected } from "../sockets/keep-connected.ts";
import type { Socket } from "../sockets/socket.ts";
import { SocketError } from "../sockets/socket-error.ts";
import type { Worker } from "./worker.ts";

/** The server may miss events while it sets up the subscription, so the worker looks again after this time. */
const blindMs = 1500;
/** How often a worker that has started without its server looks whether it knows its work pool by now. */
const poolCheckMs = 500;
/** How often the worker looks whether its work pool is still the same. */
const samePoolCheckMs = 5000;

/** Watches events until `signal` aborts; never throws. Without the socket flow runs are found by polling. */
export async function watchEvents(worker: Worker, address: SocketAddress, signal: AbortSignal): Promise<void> {
  const types = worker.options.isObserved ? [...handledStateTypes, ...observedStateTypes] : handledStateTypes;
  while (!worker.pool.current && !signal.aborted) await sleep(poolCheckMs, signal);
  let poolId = "";
  await keepConnected(
    {
      name: "the events stream (/events/out)",
      fallback: "flow runs are found by polling",
      open: (opening) => {
        poolId = worker.pool.current?.id ?? poolId;
        return subscribeToFlowRuns(address, poolId, types, opening);
      },
      use: async (socket, serving) => {
        worker.sockets.eventConnections++;
        setConnected(worker, true);
        try {
          await runTogether(serving, [
            (reading) => readEvents(worker, socket, reading),
            (waiting) => lookAgain(worker, waiting),
            (watching) => watchPool(worker, poolId, watching),
          ]);
        } finally {
          setConnected(worker, false);
        }
      },
      log: worker.log,
      random: worker.services.random,
    },
    signal,
  );
}

/** A subscription to a deleted pool receives nothing, even if a pool of the same name is created. Throws SocketError. */
async function watchPool(worker: Worker, poolId: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && worker.pool.current?.id === poolId) await sleep(samePoolCheckMs, signal);
  if (!signal.aborted) throw new SocketError("the work pool was created again");
}

function setConnected(worker: Worker, connected: boolean): void {
  worker.sockets.eventsConnected = connected;
  worker.sockets.eventsChanged.wake("connected");
}

async function readEvents(worker: Worker, socket: Socket, signal: AbortSignal): Promise<void> {
  const since = wallClockMs();
  for await (const frame of socket.frames(signal)) {
    const event = parseFlowRunEvent(frame);
    if (!event) continue;
    worker.sockets.eventCount++;
    noteEvent(worker, event, since);
    if (handledStateTypes.includes(event.stateType)) act(worker, event, Date.parse(event.occurred) < since);
  }
  if (!signal.aborted) throw new SocketError("closed by the server");
}

/** Keeps what the event tells. An event from before `since` was replayed: its age says nothing about the lag. */
function noteEvent(worker: Worker, event: FlowRunEvent, since: number): void {
  const { flowRunId, stateType, stateName, occurred } = event;
  const occurredAt = Date.parse(occurred);
  const lagMs = wallClockMs() - occurredAt;
  if (occurredAt >= since) worker.sockets.eventLagMs = lagMs;
  worker.log.debug({ flow_run_id: flowRunId, state_type: stateType, lag_ms: lagMs }, "event");
  const run = worker.runs.find(flowRunId);
  if (run) worker.history.noteState(run, { type: stateType, name: stateName, timestamp: occurred });
}

function act(worker: Worker, event: FlowRunEvent, wasBefore: boolean): void {
  const { workQueueNames } = worker.options;
  if (event.stateType === "CANCELLING") {
    // A replayed event may be about an earlier attempt, so it is only a reason to look.
    if (wasBefore) worker.sockets.eventsChanged.wake("event");
    else worker.runs.stop(event.flowRunId, { kind: "cancel" });
  } else if (event.stateType === "PENDING") {
    if (!wasBefore) worker.runs.noteClaimed(event.flowRunId, monotonicMs());
  } else if (workQueueNames.length === 0 || workQueueNames.includes(event.workQueueName ?? "")) {
    worker.runs.announce(event.flowRunId, monotonicMs());
    worker.polling.wake.wake("event");
  }
}

async function lookAgain(worker: Worker, signal: AbortSignal): Promise<void> {
  worker.polling.wake.wake("connected");
  await sleep(blindMs, signal);
  if (signal.aborted) return;
  worker.polling.wake.wake("connected");
  worker.sockets.eventsChanged.wake("connected");
}
