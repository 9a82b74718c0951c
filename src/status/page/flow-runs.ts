// The two tables of flow runs: their columns, and the search that both follow.
import { byId, type Column, element, show, table } from "./elements.ts";
import { formatDuration, formatTime } from "./format.ts";
import type { FlowRunStatus, InFlightStatus, Status } from "./status-json.ts";
import { toneOf } from "./tones.ts";

/** A page with more rows is slow, and nobody reads them. */
const maxRows = 25;
const none = "–";

type Row<Run extends FlowRunStatus> = Run & { workPool: string };

/** Which tables show all their rows. */
const isWhole = { "in-flight": false, ended: false };

/** Shows the flow runs that the search lets through. `onChange` is called when more are wanted. */
export function showFlowRuns({ host, workers }: Status, onChange: () => void): void {
  const inFlight = workers.flatMap(({ workPool, inFlight: runs }) => runs.map((run) => ({ ...run, workPool })));
  const ended = workers
    .flatMap(({ workPool, ended: runs }) => runs.map((run) => ({ ...run, workPool })))
    .sort((one, other) => (other.endedAt ?? 0) - (one.endedAt ?? 0));
  showSearch(workers.map(({ workPool }) => workPool));
  const isShared = workers.length > 1;
  showRows("in-flight", "Flow runs in flight", inFlightColumns(host.now, isShared), inFlight, onChange);
  showRows("ended", "Flow runs that ended last", endedColumns(host.now, isShared), ended, onChange);
}

const ifEmpty = { "in-flight": "No flow run is in flight.", ended: "None has ended yet." };

function showRows<Run extends FlowRunStatus>(
  id: keyof typeof isWhole,
  caption: string,
  columns: readonly Column<Row<Run>>[],
  rows: readonly Row<Run>[],
  onChange: () => void,
): void {
  const found = rows.filter(isWanted);
  const shown = isWhole[id] ? found : found.slice(0, maxRows);
  const empty = rows.length === 0 ? ifEmpty[id] : "No flow run matches the search.";
  const count = found.length === rows.length ? String(rows.length) : `${found.length} of ${rows.length}`;
  show(`${id}-count`, rows.length === 0 ? "" : count);
  show(id, table(caption, columns, shown, empty));
  const more = byId(`${id}-more`);
  more.hidden = shown.length === found.length;
  show(`${id}-more`, `Show all ${found.length}`);
  more.onclick = () => {
    isWhole[id] = true;
    onChange();
  };
}

function input(id: string): HTMLInputElement | HTMLSelectElement {
  return byId(id) as HTMLInputElement | HTMLSelectElement;
}

/** Offers the work pools if there are several. */
function showSearch(workPools: readonly string[]): void {
  const { value } = input("search-pool");
  const options = workPools.map((name) => element("option", { value: name }, name));
  show("search-pool", element("option", { value: "" }, "All"), ...options);
  input("search-pool").value = value;
  byId("search-pool-field").hidden = workPools.length < 2;
}

/** Each word of the search must be in one of the texts that the row shows. */
function isWanted({ name, flow, deployment, state, workPool }: Row<FlowRunStatus>): boolean {
  const words = input("search-text").value.toLowerCase().split(/\s+/);
  const text = [name, flow, deployment, state.name, workPool].join("\n").toLowerCase();
  const types = input("search-state").value;
  const pool = input("search-pool").value;
  return (
    words.every((word) => text.includes(word)) &&
    (types === "" || types.split(" ").includes(state.type)) &&
    (pool === "" || pool === workPool)
  );
}

function inFlightColumns(now: number, isShared: boolean): Column<Row<InFlightStatus>>[] {
  return [
    nameColumn(isShared),
    stateColumn(),
    { title: "Claimed", kind: "wide", cell: ({ claimedAt }) => timeOf(claimedAt, now) },
    { title: "Running since", kind: "wide", cell: ({ runningAt }) => timeOf(runningAt, now) },
    { title: "Age", kind: "number", cell: ({ since }) => formatDuration(now - since, 0) },
  ];
}

function endedColumns(now: number, isShared: boolean): Column<Row<FlowRunStatus>>[] {
  return [
    nameColumn(isShared),
    stateColumn(),
    { title: "Created", kind: "wide", cell: ({ createdAt }) => timeOf(createdAt, now) },
    { title: "Claimed after", kind: "wide number", cell: ({ dueAt, claimedAt }) => between(dueAt, claimedAt) },
    { title: "Running after", kind: "wide number", cell: ({ dueAt, runningAt }) => between(dueAt, runningAt) },
    { title: "Ran for", kind: "wide number", cell: ({ runningAt, endedAt }) => between(runningAt, endedAt) },
    { title: "Ended", kind: "number", cell: ({ endedAt }) => timeOf(endedAt, now) },
  ];
}

/** The name opens the logs. See logs.ts. */
function nameColumn(isShared: boolean): Column<Row<FlowRunStatus>> {
  return {
    title: "Flow run",
    cell: ({ id, name, flow, deployment, workPool }) => {
      const cell = document.createDocumentFragment();
      const attributes = { type: "button", class: "name", id: `run-${id}`, "data-run": id, "aria-haspopup": "dialog" };
      cell.append(element("button", { ...attributes, title: "Show its logs" }, name));
      const origin = [flow, deployment].filter((part) => part !== null).join(" / ");
      const parts = [origin, ...(isShared ? [workPool] : [])].filter((part) => part !== "");
      if (parts.length > 0) cell.append(element("span", { class: "less" }, parts.join(" · ")));
      return cell;
    },
  };
}

function stateColumn(): Column<FlowRunStatus> {
  return {
    title: "State",
    cell: ({ state }) => element("span", { class: `dot ${toneOf(state.type)}` }, state.name),
  };
}

function timeOf(at: number | null, now: number): Node | string {
  if (at === null) return none;
  return element("time", { datetime: new Date(at).toISOString() }, formatTime(at, now));
}

function between(from: number | null, to: number | null): string {
  return from === null || to === null ? none : formatDuration(to - from);
}
