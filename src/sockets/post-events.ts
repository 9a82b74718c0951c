// Events over HTTP. The response says whether the server accepts them and why not. For a bad event on a socket, the
// server only closes the socket, without a code or a reason.
import type { Api } from "../api/api.ts";
import { ApiError } from "../api/errors.ts";
import { listOf, object, text } from "../api/json-check.ts";
import type { Json, PrefectEvent } from "../api/wire.ts";

/** The part of `Api` that is needed here. */
export type EventsApi = Pick<Api, "request">;

/** An event that the server refuses, and its explanation. */
export interface RefusedEvent {
  event: PrefectEvent;
  reason: string;
}

/** An event with 100 tags takes 10 KB, so a batch stays below the 1 MiB that nginx accepts. */
const batchSize = 50;
/** With these statuses the event is the cause, not the connection or the server. */
const refusalStatuses: ReadonlySet<number> = new Set([400, 413, 422]);

/**
 * Sends events by `POST /events`. Returns those that the server refuses. It has accepted the others. The server drops a
 * second event with the same id, so a repetition is harmless. Throws the errors of `Api.request` for other failures.
 * Source: prefect server/api/events.py create_events.
 */
export async function postEvents(
  api: EventsApi,
  events: readonly PrefectEvent[],
  signal: AbortSignal,
): Promise<RefusedEvent[]> {
  const refused: RefusedEvent[] = [];
  for (let start = 0; start < events.length; start += batchSize) {
    refused.push(...(await postBatch(api, events.slice(start, start + batchSize), signal)));
  }
  return refused;
}

/** The server refuses a whole batch because of one event. So halves are sent until that event is alone. */
async function postBatch(api: EventsApi, batch: readonly PrefectEvent[], signal: AbortSignal): Promise<RefusedEvent[]> {
  try {
    await api.request("POST", "/events", { body: batch as unknown as Json, signal });
    return [];
  } catch (error) {
    if (!(error instanceof ApiError && refusalStatuses.has(error.status))) throw error;
    const [event] = batch;
    if (event !== undefined && batch.length === 1) {
      return [{ event, reason: `${error.status} ${error.detail}`.slice(0, 200) }];
    }
    const half = Math.ceil(batch.length / 2);
    const first = await postBatch(api, batch.slice(0, half), signal);
    return [...first, ...(await postBatch(api, batch.slice(half), signal))];
  }
}

const eventPage = object({ events: listOf(object({ id: text })) });

/** Returns which of the events the server has stored. Takes at most 50 ids. Throws the errors of `Api.request`. */
export async function findStoredEvents(
  api: EventsApi,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const body = { filter: { id: { id: [...ids] } }, limit: ids.length };
  const page = await api.request("POST", "/events/filter", { body, signal, shape: eventPage });
  return new Set((page as unknown as { events: { id: string }[] }).events.map(({ id }) => id));
}
