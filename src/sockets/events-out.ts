// The subscription to events of flow runs. Source: prefect events/clients.py PrefectEventSubscriber, events/filters.py.
import type { Json, PrefectEvent } from "../api/wire.ts";
import { connectSocket, type Socket, type SocketAddress } from "./connect.ts";

/** Events may be stored a moment before they are asked for; the server replays those since then. */
const replayMs = 60_000;
/** The end of the subscription as the reference sends it: the filter needs one. */
const untilMs = 365 * 24 * 3600 * 1000;

/**
 * Opens `/events/out` and subscribes to the states SCHEDULED and CANCELLING of the work pool's flow runs, by state type,
 * so that renamed states (Late, AwaitingRetry, Resuming …) count. Throws SocketError.
 */
export async function subscribeToFlowRuns(
  address: SocketAddress,
  workPoolId: string,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = await connectSocket(address, "/events/out", { inBand: true, signal });
  const now = Date.now();
  socket.send({
    type: "filter",
    filter: {
      occurred: { since: new Date(now - replayMs).toISOString(), until: new Date(now + untilMs).toISOString() },
      event: { prefix: ["prefect.flow-run."] },
      resource: { labels: { "prefect.state-type": ["SCHEDULED", "CANCELLING"] } },
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
  stateType: "SCHEDULED" | "CANCELLING";
  workQueueName: string | undefined;
  occurredAt: number;
}

/** Reads a frame of the subscription; undefined for anything but an event of a flow run in one of the two states. */
export function parseFlowRunEvent(frame: Json): FlowRunEvent | undefined {
  const message = frame as { type?: string; event?: Partial<PrefectEvent> } | null;
  const event = message?.event;
  const resourceId = String(event?.resource?.["prefect.resource.id"]);
  const stateType = event?.resource?.["prefect.state-type"];
  if (message?.type !== "event" || !resourceId.startsWith("prefect.flow-run.")) return undefined;
  if (stateType !== "SCHEDULED" && stateType !== "CANCELLING") return undefined;
  const queue = event?.related?.find((related) => related["prefect.resource.role"] === "work-queue");
  return {
    id: event?.id ?? "",
    flowRunId: resourceId.slice("prefect.flow-run.".length),
    stateType,
    workQueueName: queue?.["prefect.resource.name"],
    occurredAt: Date.parse(event?.occurred ?? ""),
  };
}
