// Log records and progress of a flow. The worker reads them from standard output.
import { current } from "./current.ts";
import type { Log } from "./types.ts";

/** The numbers of pino, which the worker knows. */
const levels = { debug: 20, info: 30, warn: 40, error: 50, critical: 60 } as const;

function write(level: keyof typeof levels, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
  const { flowRunId, taskRunId } = current();
  const line =
    flowRunId === null
      ? `${level.toUpperCase().padEnd(8)} ${message}${Object.keys(fields).length > 0 ? ` ${toJson(fields)}` : ""}`
      : toJson({
          ...fields,
          level: levels[level],
          msg: message,
          ...(taskRunId !== null && { task_run_id: taskRunId }),
        });
  process.stdout.write(`${line}\n`);
}

/** Returns JSON also of values that JSON does not have: big integers, errors and circles. A `toJSON` of the value may throw. */
export function toJson(value: unknown): string {
  const holders: unknown[] = [];
  return JSON.stringify(value, function (this: unknown, _key, item: unknown) {
    if (typeof item === "bigint") return String(item);
    if (item instanceof Error) return item.stack ?? item.message;
    if (typeof item !== "object" || item === null) return item;
    // What is left are the values that contain this one. The same value may be in two places that do not contain each other.
    while (holders.length > 0 && holders.at(-1) !== this) holders.pop();
    if (holders.includes(item)) return "[circular]";
    holders.push(item);
    return item;
  });
}

/** Writes log records of the flow run, or of the task run in which it is called. */
export const log: Log = {
  debug: (message, fields) => write("debug", message, fields),
  info: (message, fields) => write("info", message, fields),
  warn: (message, fields) => write("warn", message, fields),
  error: (message, fields) => write("error", message, fields),
  critical: (message, fields) => write("critical", message, fields),
};

/** Sets the progress of the flow run, in percent from 0 to 100. */
export function progress(percent: number): void {
  if (current().flowRunId !== null)
    process.stdout.write(`::progress ${Math.min(100, Math.max(0, percent)).toFixed(1)}\n`);
}
