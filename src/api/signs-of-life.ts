// What the server has heard of a flow run last. Source: prefect server/api/events.py, server/api/logs.py.
import type { Api } from "./api.ts";
import { integer, listOf, object, optional, text } from "./json-check.ts";
import type { RequestOptions } from "./request-options.ts";
import type { JsonObject } from "./wire.ts";

const eventPage = object({ total: optional(integer), events: listOf(object({ id: text })) });
const logPage = listOf(object({ id: text }));

/** The events that match: how many the server has, and the id of the newest one. */
interface EventSummary {
  readonly count: number;
  readonly newest: string | null;
}

/**
 * Returns a text that changes with each event and each log record of the flow run. Returns null if the server has no event
 * of it: then it stores none, or has deleted them. The number of events is part of the text, because the newest event by
 * its own time may stay the same if the clocks of its senders differ. Throws the errors of `Api.request`.
 */
export async function readSignOfLife(api: Api, flowRunId: string, options: RequestOptions): Promise<string | null> {
  const { count, newest } = await summarizeEvents(api, { any_resource: { id: [resourceOf(flowRunId)] } }, options);
  if (newest === null) return null;
  const body = { logs: { flow_run_id: { any_: [flowRunId] } }, sort: "TIMESTAMP_DESC", limit: 1, offset: 0 };
  const page = await api.request("POST", "/logs/filter", { ...options, shape: logPage, body });
  const [log] = page as { id: string }[];
  return `${count} ${newest} ${log?.id ?? "no log"}`;
}

/** Returns whether the flow run has ever sent a heartbeat. Throws the errors of `Api.request`. */
export async function hasHeartbeat(api: Api, flowRunId: string, options: RequestOptions): Promise<boolean> {
  const filter = { resource: { id: [resourceOf(flowRunId)] }, event: { name: ["prefect.flow-run.heartbeat"] } };
  return (await summarizeEvents(api, filter, options)).newest !== null;
}

async function summarizeEvents(api: Api, filter: JsonObject, options: RequestOptions): Promise<EventSummary> {
  const body = { filter: { ...filter, order: "DESC" }, limit: 1 };
  const page = await api.request("POST", "/events/filter", { ...options, shape: eventPage, body });
  const { total, events } = page as { total?: number; events: { id: string }[] };
  return { count: total ?? 0, newest: events[0]?.id ?? null };
}

function resourceOf(flowRunId: string): string {
  return `prefect.flow-run.${flowRunId}`;
}
