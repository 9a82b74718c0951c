// The subscription to the state events of flow runs. Source: prefect events/clients.py PrefectEventSubscriber,
// events/filters.py.
import { type Check, listOf, object, oneOf, optional, string, time, uuid } from "../api/json-check.ts";
import { type Json, type PrefectEvent, type StateType, stateTypes } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { connectSocket, type SocketAddress } from "./connect.ts";
import type { Socket } from "./socket.ts";

/** The server replays events of this last period, because some may have been stored before the subscription. */
const replayMs = 60_000;
/** When the subscription ends. The filter needs an end, and the reference sends the same. */
const untilMs = 365 * 24 * 3600 * 1000;

/** The states that a worker reacts to. PENDING means that a worker has claimed the flow run. */
export const handledStateTypes: readonly StateType[] = ["SCHEDULED", "PENDING", "CANCELLING"];

/** The states that only the status page and the metrics need. */
export const observedStateTypes: readonly StateType[] = [
  "RUNNING",
  "PAUSED",
  "COMPLETED",
  "FAILED",
  "CANCELLED",
  "CRASHED",
];

/** The prefixes of ids in resource ids. */
const workPoolPrefix = "prefect.work-pool.";
const flowRunPrefix = "prefect.flow-run.";

/**
 * Opens `/events/out` and subscribes to states of the work pools' flow runs, by state type, so that renamed states
 * (Late, AwaitingRetry, Resuming …) count. Throws SocketError.
 */
export async function subscribeToFlowRuns(
  address: SocketAddress,
  workPoolIds: readonly string[],
  types: readonly StateType[],
  signal: AbortSignal,
): Promise<Socket> {
  const socket = await connectSocket(address, "/events/out", { inBand: true, signal });
  const now = wallClockMs();
  socket.send({
    type: "filter",
    filter: {
      occurred: { since: new Date(now - replayMs).toISOString(), until: new Date(now + untilMs).toISOString() },
      event: { prefix: [flowRunPrefix] },
      resource: { labels: { "prefect.state-type": [...types] } },
      any_resource: { id: workPoolIds.map((id) => `${workPoolPrefix}${id}`) },
      order: "ASC",
    },
  });
  return socket;
}

/**
 * The resource id of a flow run. It is checked because anybody may send events. With one invalid id, the server would
 * refuse a whole request for flow runs.
 */
const flowRunResourceId: Check = (value) =>
  typeof value === "string" && value.startsWith(flowRunPrefix) && uuid(value.slice(flowRunPrefix.length));

/** A state event of a flow run, with the fields that a worker needs. */
export interface FlowRunEvent {
  id: string;
  flowRunId: string;
  stateType: StateType;
  stateName: string;
  workQueueName: string | undefined;
  /** Undefined if the event names no work pool. */
  workPoolId: string | undefined;
  /** The time of the state, ISO 8601. */
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
      listOf(
        object({
          "prefect.resource.id": optional(string),
          "prefect.resource.role": optional(string),
          "prefect.resource.name": optional(string),
        }),
      ),
    ),
  }),
});

/** Parses a frame of the subscription. Returns undefined for anything but a state event of a flow run. */
export function parseFlowRunEvent(frame: Json): FlowRunEvent | undefined {
  if (!flowRunEvent(frame)) return undefined;
  const { id, occurred, resource, related } = (frame as unknown as { event: PrefectEvent }).event;
  const stateType = resource["prefect.state-type"] as StateType;
  const queue = related?.find((each) => each["prefect.resource.role"] === "work-queue");
  const pool = related?.find((each) => each["prefect.resource.id"]?.startsWith(workPoolPrefix));
  return {
    id,
    flowRunId: (resource["prefect.resource.id"] as string).slice(flowRunPrefix.length),
    stateType,
    stateName: resource["prefect.state-name"] ?? stateType,
    workQueueName: queue?.["prefect.resource.name"] ?? undefined,
    workPoolId: pool?.["prefect.resource.id"]?.slice(workPoolPrefix.length),
    occurred,
  };
}
