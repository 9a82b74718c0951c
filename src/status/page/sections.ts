// The sections of the page, from the status of the program.
import { type Column, element } from "./elements.ts";
import { formatDuration, formatTime, medianOf } from "./format.ts";
import type {
  ConnectionStatus,
  FlowRunStatus,
  HostStatus,
  InFlightStatus,
  Status,
  WorkerStatus,
} from "./status-json.ts";

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

/** The word and the colour for each phase of the program. */
export const phases: Readonly<Record<HostStatus["phase"], [word: string, tone: Tone]>> = {
  starting: ["Starting", "warn"],
  running: ["Working", "good"],
  outage: ["API away", "bad"],
  draining: ["Stopping", "warn"],
  killing: ["Ending flow runs", "bad"],
};

const none = "–";

/** Returns the section about the identity of the workers: work pools, API, credentials and profile. */
export function facts({ host, workers }: Status): HTMLElement[] {
  const { api } = host;
  const authentication = api?.authentication === "none" ? "no credentials" : api?.authentication;
  return terms([
    [workers.length === 1 ? "Work pool" : "Work pools", workers.map(poolOf).join(", ")],
    ["Work queues", queuesOf(workers) || "all"],
    ["API", api?.host ?? "not known yet"],
    ["Identity", authentication ?? "not known yet"],
    ["Profile", host.profile],
    ["Up for", formatDuration(host.now - host.startedAt, 0)],
    ...(host.journalProblem === null
      ? []
      : [["Journal", `cannot be written (${host.journalProblem})`] as [string, string]]),
    ...host.watches.flatMap(({ name, problem }): [string, string][] =>
      problem === null ? [] : [[`Watch of ${name}`, problem]],
    ),
    ...(host.machineProblem === null
      ? []
      : [["Machine", `cannot start flow runs: ${host.machineProblem}`] as [string, string]]),
  ]);
}

function poolOf({ workPool, type }: WorkerStatus): string {
  return type ? `${workPool} (${type})` : workPool;
}

function queuesOf(workers: readonly WorkerStatus[]): string {
  return workers
    .flatMap(({ workPool, workQueues }) =>
      workQueues.map((queue) => (workers.length > 1 ? `${workPool}/${queue}` : queue)),
    )
    .join(", ");
}

/** Returns the counts. Rare kinds of ends appear only if there are any. */
export function figures({ host: { slots }, workers }: Status): HTMLElement[] {
  const ends: [type: string, title: string, isRare: boolean][] = [
    ["COMPLETED", "Completed", false],
    ["FAILED", "Failed", false],
    ["CRASHED", "Crashed", false],
    ["CANCELLED", "Cancelled", false],
    ["PAUSED", "Paused", true],
    ["SCHEDULED", "To run again", true],
    ["UNKNOWN", "Unknown", true],
  ];
  const median = medianOf(workers.flatMap(({ latencies }) => latencies.map(({ ms }) => ms)));
  return terms([
    ["Slots used", slots.limit === null ? `${slots.used}, no limit` : `${slots.used} of ${slots.limit}`],
    ["Claimed", String(sum(workers, ({ claimed }) => claimed))],
    ...ends.flatMap(([type, title, isRare]): [string, string][] => {
      const count = sum(workers, ({ endedByType }) => endedByType[type] ?? 0);
      return isRare && count === 0 ? [] : [[title, String(count)]];
    }),
    ["Median to Running", median === undefined ? none : formatDuration(median)],
  ]);
}

function sum(workers: readonly WorkerStatus[], of: (worker: WorkerStatus) => number): number {
  return workers.reduce((total, worker) => total + of(worker), 0);
}

function terms(pairs: readonly [title: string, text: string][]): HTMLElement[] {
  return pairs.map(([title, text]) => element("div", {}, element("dt", {}, title), element("dd", {}, text)));
}

/** Returns the colour and the texts for the polls. Jitter and a slow response may delay a poll. */
function polling(found: ConnectionStatus, now: number, querySeconds: number): [Tone, string[]] {
  const { hasWorkPool, outageSince, lastPollAt } = found;
  const ageMs = now - lastPollAt;
  if (outageSince !== null)
    return ["bad", [`away for ${formatDuration(now - outageSince, 0)}`, "the worker keeps trying"]];
  if (!hasWorkPool) return ["bad", ["no work pool has been read yet"]];
  const isLate = ageMs > 2 * querySeconds * 1000 + 5000;
  return [isLate ? "bad" : "good", [`last poll ${formatDuration(ageMs, 0)} ago`, ...(isLate ? ["overdue"] : [])]];
}

/** Returns the connections of all workers. The text of a closed connection says what happens without it. */
export function connections({ host, workers }: Status): HTMLElement[] {
  return [
    ...workers.flatMap((worker) => connectionsOf(worker, host.now, workers.length > 1 ? ` of ${worker.workPool}` : "")),
    connection("Events to the server", host.eventsIn ? "good" : "warn", [
      isOpen(host.eventsIn),
      host.eventsIn ? "carries what the worker does" : "they are kept and sent later",
    ]),
  ];
}

function connectionsOf({ connections: found, querySeconds }: WorkerStatus, now: number, of: string): HTMLElement[] {
  if (!found) return [element("li", {}, element("span", { class: "dot warn" }, `Being opened${of}`))];
  return [
    connection(`API${of}`, ...polling(found, now, querySeconds)),
    connection(`Worker channel${of}`, found.workerChannel ? "good" : "calm", [
      isOpen(found.workerChannel),
      found.workerChannel ? "carries the heartbeats" : "heartbeats go by REST",
    ]),
    connection(`Events from the server${of}`, found.eventsOut ? "good" : "warn", [
      isOpen(found.eventsOut),
      found.eventsOut ? lag(found) : "flow runs are found by polling",
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

/** Returns the columns for flow runs in flight. `now` is the time of the program's clock. */
export function inFlightColumns(now: number): Column<InFlightStatus>[] {
  return [
    nameColumn(),
    stateColumn(),
    { title: "Claimed", kind: "wide", cell: ({ claimedAt }) => timeOf(claimedAt, now) },
    { title: "Running since", kind: "wide", cell: ({ runningAt }) => timeOf(runningAt, now) },
    { title: "Age", kind: "number", cell: ({ since }) => formatDuration(now - since, 0) },
  ];
}

/** Returns the columns for ended flow runs. `now` is the time of the program's clock. */
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
