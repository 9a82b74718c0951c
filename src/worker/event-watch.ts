// Acts on events of the server. A scheduled flow run wakes the poll loop; a flow run that is Cancelling is stopped.
import { type BothClocks, bothClocks, monotonicMs, wallClockMs } from "../async/clock.ts";
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

/** The server may miss events while it sets up the subscription. The worker polls again after this time. */
const subscriptionSetUpMs = 1500;
/** How often a worker that started without its server checks whether its work pool is known now. */
const poolCheckMs = 1_000;
/** How often the worker checks whether its subscription still fits. */
const subscriptionCheckMs = 5000;
/** The worker subscribes again if the wall clock was set by more than this. */
const clockStepMs = 10_000;

/** Watches events until `signal` aborts. Never throws. While the socket is closed, polls find the flow runs. */
export async function watchEvents(worker: Worker, address: SocketAddress, signal: AbortSignal): Promise<void> {
  const types = worker.options.isObserved ? [...handledStateTypes, ...observedStateTypes] : handledStateTypes;
  await worker.firstPoll(signal);
  while (!worker.pool.current && !signal.aborted) await sleep(poolCheckMs, signal);
  let poolId = "";
  let opened = bothClocks();
  await keepConnected(
    {
      name: "the events stream (/events/out)",
      fallback: "flow runs are found by polling",
      open: (opening) => {
        poolId = worker.pool.current?.id ?? poolId;
        opened = bothClocks();
        return subscribeToFlowRuns(address, poolId, types, opening);
      },
      use: async (socket, serving) => {
        worker.sockets.eventConnections++;
        setConnected(worker, true);
        try {
          await runTogether(serving, [
            (reading) => readEvents(worker, socket, reading),
            (waiting) => checkForMissedEvents(worker, waiting),
            (watching) => checkSubscription(worker, poolId, opened, watching),
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

/**
 * Checks until `signal` aborts whether the subscription still fits. Throws SocketError when it does not. A subscription
 * to a deleted pool receives nothing, even if a pool of the same name is created. A subscription from a time in the
 * future receives nothing until then, as when the wall clock was ahead and is set back.
 */
async function checkSubscription(
  worker: Worker,
  poolId: string,
  opened: BothClocks,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    if (worker.pool.current?.id !== poolId) throw new SocketError("the work pool was created again");
    // A machine that slept looks the same. Its connection may be lost, so a new one is right there too.
    if (wasClockSet(opened)) throw new SocketError("the clock of this machine was set", { isOwnEnd: true });
    await sleep(subscriptionCheckMs, signal);
  }
}

/** Whether the wall clock was set since `opened`, so that it differs from the monotonic clock. */
function wasClockSet(opened: BothClocks): boolean {
  const now = bothClocks();
  return Math.abs(now.wallMs - opened.wallMs - (now.monotonicMs - opened.monotonicMs)) > clockStepMs;
}

function setConnected(worker: Worker, connected: boolean): void {
  worker.sockets.eventsConnected = connected;
  worker.sockets.eventsChanged.wake("connected");
}

/** Handles events until `signal` aborts. Throws SocketError when the server closes the socket. */
async function readEvents(worker: Worker, socket: Socket, signal: AbortSignal): Promise<void> {
  const openedAt = wallClockMs();
  for await (const frame of socket.frames(signal)) {
    const event = parseFlowRunEvent(frame);
    if (!event) continue;
    worker.sockets.eventCount++;
    recordEvent(worker, event, openedAt);
    if (handledStateTypes.includes(event.stateType)) handleEvent(worker, event, Date.parse(event.occurred) < openedAt);
  }
  if (!signal.aborted) throw new SocketError("closed by the server");
}

/** Records the event's state and lag. The server replays events from before `openedAt`, so their age is not a lag. */
function recordEvent(worker: Worker, event: FlowRunEvent, openedAt: number): void {
  const { flowRunId, stateType, stateName, occurred } = event;
  const occurredAt = Date.parse(occurred);
  const lagMs = wallClockMs() - occurredAt;
  if (occurredAt >= openedAt) worker.sockets.eventLagMs = lagMs;
  worker.log.debug({ flow_run_id: flowRunId, state_type: stateType, lag_ms: lagMs }, "event");
  const run = worker.runs.find(flowRunId);
  if (run) worker.history.recordState(run, { type: stateType, name: stateName, timestamp: occurred });
}

function handleEvent(worker: Worker, event: FlowRunEvent, isReplayed: boolean): void {
  const { workQueueNames } = worker.options;
  if (event.stateType === "CANCELLING") {
    // A replayed event may be about an earlier attempt, so the worker asks the server instead of stopping the flow run.
    if (isReplayed) worker.sockets.eventsChanged.wake("event");
    else worker.runs.stop(event.flowRunId, { kind: "cancel" });
  } else if (event.stateType === "PENDING") {
    if (!isReplayed) worker.runs.expected.markClaimedElsewhere(event.flowRunId, monotonicMs());
  } else if (workQueueNames.length === 0 || workQueueNames.includes(event.workQueueName ?? "")) {
    worker.runs.expected.announce(event.flowRunId, monotonicMs(), Date.parse(event.occurred));
    worker.polling.wake.wake("event");
  }
}

/** Polls for what happened while the socket was closed, and once more for events that the server missed meanwhile. */
async function checkForMissedEvents(worker: Worker, signal: AbortSignal): Promise<void> {
  worker.polling.wake.wake("connected");
  await sleep(subscriptionSetUpMs, signal);
  if (signal.aborted) return;
  worker.polling.wake.wake("connected");
  worker.sockets.eventsChanged.wake("connected");
  worker.sweepWake.wake("connected");
}
