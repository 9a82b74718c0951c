// The subscription to events of flow runs. Source: prefect events/clients.py PrefectEventSubscriber, events/filters.py.
import { type Check, listOf, object, oneOf, optional, string, time, uuid } from "../api/json-check.ts";
import { type Json, type PrefectEvent, type StateType, stateTypes } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { connectSocket, type Socket, type SocketAddress } from "./connect.ts";

/** How far back the server replays events, because some may have been stored before the subscription. */
const replayMs = 60_000;
/** How far ahead the subscription ends. The filter needs an end, and the reference sends the same. */
const untilMs = 365 * 24 * 3600 * 1000;

/** The states a worker acts upon. PENDING says that a flow run has been claimed. */
export const stateTypesToActUpon: readonly StateType[] = ["SCHEDULED", "PENDING", "CANCELLING"];

/** The states that only the status page and the metrics need. */
export const stateTypesToLookAt: readonly StateType[] = [
  "RUNNING",
  "PAUSED",
  "COMPLETED",
  "FAILED",
  "CANCELLED",
  "CRASHED",
];

/**
 * Opens `/events/out` and subscribes to states of the work pool's flow runs, by state type, so that renamed states (Late,
 * AwaitingRetry, Resuming …) count. Throws SocketError.
 */
export async function subscribeToFlowRuns(
  address: SocketAddress,
  workPoolId: string,
  types: readonly StateType[],
  signal: AbortSignal,
): Promise<Socket> {
  const socket = await connectSocket(address, "/events/out", { inBand: true, signal });
  const now = wallClockMs();
  socket.send({
    type: "filter",
    filter: {
      occurred: { since: new Date(now - replayMs).toISOString(), until: new Date(now + untilMs).toISOString() },
      event: { prefix: ["prefect.flow-run."] },
      resource: { labels: { "prefect.state-type": [...types] } },
      any_resource: { id: [`prefect.work-pool.${workPoolId}`] },
      order: "ASC",
    },
  });
  return socket;
}

/** How the id of a flow run begins as that of a resource. */
const flowRunPrefix = "prefect.flow-run.";

/**
 * The resource of a flow run. Anybody may send events, so the id is checked: the server refuses a whole look-up because
 * of one id that is none.
 */
const flowRunResourceId: Check = (value) =>
  typeof value === "string" && value.startsWith(flowRunPrefix) && uuid(value.slice(flowRunPrefix.length));

/** What an event says about a flow run, in the worker's terms. */
export interface FlowRunEvent {
  id: string;
  flowRunId: string;
  stateType: StateType;
  stateName: string;
  workQueueName: string | undefined;
  /** ISO 8601: the time of the state. */
  occurred: string;
}

const flowRunEvent = object({
  type: oneOf("event"),
  event: object({
    id: string,
    occurred: time,
    resource: object({
      "prefect.resource.id": flowRunResourceId,
      "prefect.state-type": oneOf(...stateTypes),
      "prefect.state-name": optional(string),
    }),
    related: optional(
      listOf(object({ "prefect.resource.role": optional(string), "prefect.resource.name": optional(string) })),
    ),
  }),
});

/** Reads a frame of the subscription. Returns undefined for anything but the state of a flow run. */
export function parseFlowRunEvent(frame: Json): FlowRunEvent | undefined {
  if (!flowRunEvent(frame)) return undefined;
  const { id, occurred, resource, related } = (frame as unknown as { event: PrefectEvent }).event;
  const stateType = resource["prefect.state-type"] as StateType;
  const queue = related?.find((each) => each["prefect.resource.role"] === "work-queue");
  return {
    id,
    flowRunId: (resource["prefect.resource.id"] as string).slice(flowRunPrefix.length),
    stateType,
    stateName: resource["prefect.state-name"] ?? stateType,
    workQueueName: queue?.["prefect.resource.name"] ?? undefined,
    occurred,
  };
}
