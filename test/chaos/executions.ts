// The lines that flow runs write while they are executed.
import { readFile } from "node:fs/promises";

/** A line: an execution of a flow run began or ended. */
export interface ExecutionLine {
  id: string;
  pid: number;
  /** Milliseconds since 1970. */
  atMs: number;
  what: "start" | "end";
}

/** Reads all lines, by flow run. */
export async function readExecutions(file: string): Promise<Map<string, ExecutionLine[]>> {
  const text = await readFile(file, "utf8").catch(() => "");
  const byRun = new Map<string, ExecutionLine[]>();
  for (const each of text.split("\n").filter(Boolean)) {
    const line = JSON.parse(each) as ExecutionLine;
    byRun.set(line.id, [...(byRun.get(line.id) ?? []), line]);
  }
  return byRun;
}
