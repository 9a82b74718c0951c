// Acts on events of the server. A scheduled flow run wakes the poll loop; a flow run that is Cancelling is stopped.
import { monotonicMs, wallClockMs } from "../async/clock.ts";
import { aborted, sleep } from "../async/sleep.ts";
import { type FlowRunEvent, handledStateTypes } from "../sockets/event-subscription.ts";
import type { EventFeed } from "./event-feed.ts";
import type { Worker } from "./worker.ts";

/** How often a worker that started without its server checks whether its work pool is known now. */
const poolCheckMs = 1_000;

/** Reads the events of the worker's work pool until `signal` aborts. Never throws. */
export async function watchEvents(worker: Worker, feed: EventFeed, signal: AbortSignal): Promise<void> {
  await worker.firstPoll(signal);
  while (!worker.pool.current && !signal.aborted) await sleep(poolCheckMs, signal);
  let poolId = "";
  using _reading = feed.join({
    workPoolId: () => {
      poolId = worker.pool.current?.id ?? poolId;
      return poolId;
    },
    onConnected: (isConnected) => setConnected(worker, isConnected),
    onMissed: (isSetUp) => lookForMissed(worker, isSetUp),
    onEvent: (event, openedAt) => {
      worker.sockets.eventCount++;
      recordEvent(worker, event, openedAt);
      if (handledStateTypes.includes(event.stateType))
        handleEvent(worker, event, Date.parse(event.occurred) < openedAt);
    },
  });
  await aborted(signal);
}

function setConnected(worker: Worker, isConnected: boolean): void {
  const { sockets } = worker;
  if (isConnected) sockets.eventConnections++;
  else if (!sockets.eventsConnected) return;
  sockets.eventsConnected = isConnected;
  sockets.eventsChanged.wake("connected");
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

/** Polls for what happened while the socket was closed. Once the subscription is set up, asks for all that was missed. */
function lookForMissed(worker: Worker, isSetUp: boolean): void {
  worker.polling.wake.wake("connected");
  if (!isSetUp) return;
  worker.sockets.eventsChanged.wake("connected");
  worker.sweepWake.wake("connected");
}
