// The subscription to events of flow runs. Source: prefect events/clients.py PrefectEventSubscriber, events/filters.py.
import { isStateType, type Json, type PrefectEvent, type StateType } from "../api/wire.ts";
import { connectSocket, type Socket, type SocketAddress } from "./connect.ts";

/** Events may be stored a moment before they are asked for; the server replays those since then. */
const replayMs = 60_000;
/** The end of the subscription as the reference sends it: the filter needs one. */
const untilMs = 365 * 24 * 3600 * 1000;

/** The states a worker acts upon. */
export const stateTypesToActUpon: readonly StateType[] = ["SCHEDULED", "CANCELLING"];

/** What else there is to know of a flow run that has been claimed. */
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
  const now = Date.now();
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

/** Reads a frame of the subscription; undefined for anything but a flow run's state. */
export function parseFlowRunEvent(frame: Json): FlowRunEvent | undefined {
  const message = frame as { type?: string; event?: Partial<PrefectEvent> } | null;
  const event = message?.event;
  const resourceId = String(event?.resource?.["prefect.resource.id"]);
  const stateType = event?.resource?.["prefect.state-type"];
  if (message?.type !== "event" || !resourceId.startsWith("prefect.flow-run.")) return undefined;
  if (!isStateType(stateType)) return undefined;
  const queue = event?.related?.find((related) => related["prefect.resource.role"] === "work-queue");
  return {
    id: event?.id ?? "",
    flowRunId: resourceId.slice("prefect.flow-run.".length),
    stateType,
    stateName: String(event?.resource?.["prefect.state-name"] ?? stateType),
    workQueueName: queue?.["prefect.resource.name"],
    occurred: String(event?.occurred),
  };
}
