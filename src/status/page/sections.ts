// The sections of the page, from the status of the program.
import { element, table } from "./elements.ts";
import { formatDuration, medianOf } from "./format.ts";
import type { ConnectionStatus, HostStatus, Status, WorkerStatus } from "./status-json.ts";
import type { Tone } from "./tones.ts";

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
  const events = connection("Events to the server", host.eventsIn ? "good" : "warn", [
    isOpen(host.eventsIn),
    host.eventsIn ? "carries what the worker does" : "they are kept and sent later",
  ]);
  const [only] = workers;
  if (only && workers.length === 1) {
    return [element("ul", {}, ...connectionsOf(only, host.now).map((each) => each("li")), events("li"))];
  }
  const cell = (index: number) => (worker: WorkerStatus) => connectionsOf(worker, host.now)[index]?.("div") ?? none;
  const columns = [
    { title: "Work pool", cell: ({ workPool }: WorkerStatus) => workPool },
    { title: "API", cell: cell(0) },
    { title: "Worker channel", cell: cell(1) },
    { title: "Events from the server", cell: cell(2) },
  ];
  return [table("Connections of each work pool", columns, workers, ""), element("ul", {}, events("li"))];
}

function connectionsOf({ connections: found, querySeconds }: WorkerStatus, now: number): ShownConnection[] {
  if (!found) return [connection("Being opened", "warn", [])];
  return [
    connection("API", ...polling(found, now, querySeconds)),
    connection("Worker channel", found.workerChannel ? "good" : "calm", [
      isOpen(found.workerChannel),
      found.workerChannel ? "carries the heartbeats" : "heartbeats go by REST",
    ]),
    connection("Events from the server", found.eventsOut ? "good" : "warn", [
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

/** Makes the element of a connection, for a list or for the cell of a table. */
type ShownConnection = (tag: "li" | "div") => HTMLElement;

function connection(name: string, tone: Tone, words: readonly string[]): ShownConnection {
  return (tag) => {
    if (tag === "div") return element("div", { class: `dot ${tone}` }, words.join("; ") || name);
    const title = element("span", { class: `dot ${tone}` }, name);
    return element("li", {}, title, element("span", { class: "less" }, words.join("; ")));
  };
}
