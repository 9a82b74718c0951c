// What the page says about a worker, section by section.
import { type Column, element } from "./elements.ts";
import type { ConnectionStatus, FlowRunStatus, InFlightStatus, Status } from "./status.ts";
import { formatDuration, formatTime, medianOf } from "./words.ts";

type Tone = "good" | "bad" | "warn" | "calm" | "busy";

const tones: Readonly<Record<string, Tone>> = {
  COMPLETED: "good",
  FAILED: "bad",
  CRASHED: "bad",
  CANCELLED: "warn",
  CANCELLING: "warn",
  PAUSED: "warn",
  RUNNING: "busy",
};

/** The phase in a word, and its tone. */
export const phases: Readonly<Record<Status["phase"], [word: string, tone: Tone]>> = {
  starting: ["Starting", "warn"],
  running: ["Working", "good"],
  stopping: ["Stopping", "warn"],
};

const none = "–";

/** Who the worker is and whom it works for. */
export function facts(status: Status): HTMLElement[] {
  const { api, type, workQueues } = status;
  const authentication = api?.authentication === "none" ? "no credentials" : api?.authentication;
  return terms([
    ["Work pool", type ? `${status.workPool} (${type})` : status.workPool],
    ["Work queues", workQueues.length > 0 ? workQueues.join(", ") : "all"],
    ["API", api?.host ?? "not known yet"],
    ["Identity", authentication ?? "not known yet"],
    ["Profile", status.profile],
    ["Up for", formatDuration(status.now - status.startedAt, 0)],
  ]);
}

/** How much it does and has done; ends that are rare only if there are any. */
export function figures({ slots, claimed, endedByType, latencies }: Status): HTMLElement[] {
  const ends: [type: string, title: string, isRare: boolean][] = [
    ["COMPLETED", "Completed", false],
    ["FAILED", "Failed", false],
    ["CRASHED", "Crashed", false],
    ["CANCELLED", "Cancelled", false],
    ["PAUSED", "Paused", true],
    ["SCHEDULED", "To run again", true],
    ["UNKNOWN", "Unknown", true],
  ];
  const median = medianOf(latencies.map(({ ms }) => ms));
  return terms([
    ["Slots used", slots.limit === null ? `${slots.used}, no limit` : `${slots.used} of ${slots.limit}`],
    ["Claimed", String(claimed)],
    ...ends.flatMap(([type, title, isRare]): [string, string][] => {
      const count = endedByType[type] ?? 0;
      return isRare && count === 0 ? [] : [[title, String(count)]];
    }),
    ["Median to Running", median === undefined ? none : formatDuration(median)],
  ]);
}

function terms(pairs: readonly [title: string, text: string][]): HTMLElement[] {
  return pairs.map(([title, text]) => element("div", {}, element("dt", {}, title), element("dd", {}, text)));
}

/** A poll may be late by its jitter and by a slow answer. */
function polling({ hasWorkPool }: ConnectionStatus, ageMs: number, querySeconds: number): [Tone, string[]] {
  if (!hasWorkPool) return ["bad", ["no work pool has been read yet"]];
  const isLate = ageMs > 2 * querySeconds * 1000 + 5000;
  return [isLate ? "bad" : "good", [`last poll ${formatDuration(ageMs, 0)} ago`, ...(isLate ? ["overdue"] : [])]];
}

/** The connections, each with what goes on without it. */
export function connections({ connections: found, querySeconds, now }: Status): HTMLElement[] {
  if (!found) return [element("li", {}, element("span", { class: "dot warn" }, "Being opened"))];
  return [
    connection("API", ...polling(found, now - found.lastPollAt, querySeconds)),
    connection("Worker channel", found.workerChannel ? "good" : "calm", [
      isOpen(found.workerChannel),
      found.workerChannel ? "carries the heartbeats" : "heartbeats go by REST",
    ]),
    connection("Events from the server", found.eventsOut ? "good" : "warn", [
      isOpen(found.eventsOut),
      found.eventsOut ? lag(found) : "flow runs are found by polling",
    ]),
    connection("Events to the server", found.eventsIn ? "good" : "warn", [
      isOpen(found.eventsIn),
      found.eventsIn ? "carries what the worker does" : "they are kept and sent later",
    ]),
  ];
}

function isOpen(open: boolean): string {
  return open ? "connected" : "not connected";
}

function lag({ eventLagMs }: ConnectionStatus): string {
  return eventLagMs === null ? "no event yet" : `the last took ${Math.max(0, eventLagMs)} ms`;
}

function connection(name: string, tone: Tone, words: readonly string[]): HTMLElement {
  const title = element("span", { class: `dot ${tone}` }, name);
  return element("li", {}, title, element("span", { class: "less" }, words.join("; ")));
}

/** The columns of the flow runs in flight, at the worker's time `now`. */
export function inFlightColumns(now: number): Column<InFlightStatus>[] {
  return [
    nameColumn(),
    stateColumn(),
    { title: "Claimed", kind: "wide", cell: ({ claimedAt }) => timeOf(claimedAt, now) },
    { title: "Running since", kind: "wide", cell: ({ runningAt }) => timeOf(runningAt, now) },
    { title: "Age", kind: "number", cell: ({ since }) => formatDuration(now - since, 0) },
  ];
}

/** The columns of the flow runs that have ended. */
export function endedColumns(now: number): Column<FlowRunStatus>[] {
  return [
    nameColumn(),
    stateColumn(),
    { title: "Created", kind: "wide", cell: ({ createdAt }) => timeOf(createdAt, now) },
    { title: "Claimed after", kind: "wide number", cell: ({ dueAt, claimedAt }) => between(dueAt, claimedAt) },
    { title: "Running after", kind: "wide number", cell: ({ dueAt, runningAt }) => between(dueAt, runningAt) },
    { title: "Ran for", kind: "wide number", cell: ({ runningAt, endedAt }) => between(runningAt, endedAt) },
    { title: "Ended", kind: "number", cell: ({ endedAt }) => timeOf(endedAt, now) },
  ];
}

function nameColumn(): Column<FlowRunStatus> {
  return {
    title: "Flow run",
    cell: ({ name, flow, deployment }) => {
      const cell = document.createDocumentFragment();
      cell.append(name);
      const origin = [flow, deployment].filter((part) => part !== null).join(" / ");
      if (origin !== "") cell.append(element("span", { class: "less" }, origin));
      return cell;
    },
  };
}

function stateColumn(): Column<FlowRunStatus> {
  return {
    title: "State",
    cell: ({ state }) => element("span", { class: `dot ${tones[state.type] ?? "calm"}` }, state.name),
  };
}

function timeOf(at: number | null, now: number): Node | string {
  if (at === null) return none;
  return element("time", { datetime: new Date(at).toISOString() }, formatTime(at, now));
}

function between(from: number | null, to: number | null): string {
  return from === null || to === null ? none : formatDuration(to - from);
}
