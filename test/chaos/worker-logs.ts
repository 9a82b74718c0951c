// What the workers logged about one flow run.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A log record of a worker. */
interface LogLine {
  atMs: number;
  text: string;
}

/** Returns the records of all workers that name the flow run, in the order of their times. */
export async function readLogsOf(logs: string, flowRunId: string): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for (const name of await readdir(logs)) {
    for (const line of (await readFile(join(logs, name), "utf8")).split("\n")) {
      if (line.includes(flowRunId)) lines.push(describe(name.replace(".log", ""), line));
    }
  }
  return lines.sort((one, other) => one.atMs - other.atMs);
}

function describe(worker: string, line: string): LogLine {
  try {
    const { time, msg, err } = JSON.parse(line) as { time: number; msg: string; err?: { message: string } };
    return { atMs: time, text: `${worker}: ${msg}${err ? ` (${err.message})` : ""}` };
  } catch {
    // A worker that was killed may leave half a record.
    return { atMs: 0, text: `${worker}: ${line}` };
  }
}
