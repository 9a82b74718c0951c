// The table of `lictor worker status`.
import { formatDuration } from "../status/page/format.ts";
import type { Status, WorkerStatus } from "../status/page/status-json.ts";

const columns = ["PID", "WORKER", "POOL", "TYPE", "PHASE", "UP", "RUNS", "CLAIMED"];

/** Returns the lines of a table of workers, followed by their flow runs and by what is wrong with their machine. */
export function workerTable(statuses: readonly Status[]): string[] {
  const rows = statuses.flatMap(({ host, workers }) =>
    workers.map((worker) => [
      String(host.pid),
      worker.name,
      worker.workPool,
      worker.type ?? "?",
      host.phase,
      formatDuration(host.now - host.startedAt, 0),
      String(worker.inFlight.length),
      String(worker.claimed),
    ]),
  );
  const runs = statuses.flatMap(({ host, workers }) => workers.flatMap((worker) => flowRunRows(worker, host.now)));
  const problems = statuses.flatMap(({ host: { pid, machineProblem } }) =>
    machineProblem ? [`Process ${pid} cannot start flow runs: ${machineProblem}`] : [],
  );
  return [
    ...align([columns, ...rows]),
    ...(runs.length > 0 ? ["", ...align(runs)] : []),
    ...(problems.length > 0 ? ["", ...problems] : []),
  ];
}

/** Returns the flow runs of a worker, one per row. */
function flowRunRows({ workPool, inFlight: runs }: WorkerStatus, now: number): string[][] {
  return runs.map(({ name, state, since, identifier }) => [
    `  ${name}`,
    workPool,
    state.name,
    formatDuration(now - since, 0),
    identifier === null ? "" : `process ${identifier}`,
  ]);
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
