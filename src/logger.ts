// Logging. pino creates the records. This file formats them for a terminal or a log collector, and hides secrets.
import pino from "pino";
import { wallClockMs } from "./async/clock.ts";
import { SecretTexts } from "./secret-texts.ts";

export type { Logger } from "pino";

/** The format of log records: lines like those of the reference, or one JSON object a line. */
export type LogFormat = "text" | "json";

/** A record as pino writes it. `name` is the name of the logger, in Prefect's dotted form. */
export interface PinoRecord {
  level: number;
  time: number;
  name: string;
  msg: string;
  flow_run_id?: string;
  work_pool?: string;
  err?: { message: string; stack?: string };
  /** The other fields of the log call. */
  [field: string]: unknown;
}

/** The program's output. */
export interface Logging {
  /** The program's own logger, with the name `lictor`. */
  logger: pino.Logger;
  /** Returns a logger with this name, in Prefect's dotted form. */
  named(name: string): pino.Logger;
  /** Writes a message for the user to standard output: plain text, or a JSON record in JSON format. */
  announce(message: string): void;
  /**
   * Writes a line of a flow run's output to the same stream: in JSON format as a record, in text format as it is. These
   * lines are not sent to the API, because engines send their logs themselves.
   */
  writeChildLine(flowRunId: string, line: { stream: "stdout" | "stderr"; text: string }): void;
  /** Whether processes write to the terminal themselves, with colours: on a terminal in text format. */
  readonly inheritsOutput: boolean;
  /** Gets every record after it was written. Set when the log shipper exists. */
  onRecord: ((record: PinoRecord) => void) | undefined;
  /** Returns `text` with every secret of at least six characters replaced by eight asterisks. */
  redact(text: string): string;
  /** Adds secrets to hide. */
  hide(secrets: readonly string[]): void;
}

const levelNames: Readonly<Record<number, string>> = {
  10: "DEBUG",
  20: "DEBUG",
  30: "INFO",
  40: "WARNING",
  50: "ERROR",
  60: "CRITICAL",
};
const levelColours: Readonly<Record<string, string>> = {
  DEBUG: "34",
  INFO: "36",
  WARNING: "33",
  ERROR: "31",
  CRITICAL: "35;1",
};

/** Returns Python's level for pino's level. Source: protocol of `POST /logs/`, 10 debug to 50 critical. */
export function pythonLevel(pinoLevel: number): number {
  return Math.max(10, pinoLevel - 10);
}

/** Returns the local time of day: `HH:MM:SS.mmm`. */
export function clockTime(at: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/**
 * Returns the line for a record, as the reference prints it: `HH:MM:SS.mmm | LEVEL   | logger - message`, local time.
 */
export function formatText(record: PinoRecord, colours: boolean): string {
  const level = levelNames[record.level] ?? "INFO";
  const shown = colours ? `\u001b[${levelColours[level]}m${level.padEnd(7)}\u001b[0m` : level.padEnd(7);
  const cause = record.err ? `: ${record.err.message}` : "";
  const details = record.level <= 20 ? detailsOf(record) : "";
  return `${clockTime(new Date(record.time))} | ${shown} | ${record.name} - ${record.msg}${cause}${details}\n`;
}

/** Returns the other fields of a debug record as text. */
function detailsOf({
  level: _l,
  time: _t,
  name: _n,
  msg: _m,
  err: _e,
  flow_run_id: _f,
  work_pool: _w,
  ...details
}: PinoRecord): string {
  return Object.keys(details).length > 0 ? ` ${JSON.stringify(details)}` : "";
}

/** Returns pino's level name for one of Prefect's. */
export function pinoLevel(prefectLevel: string): string {
  const names: Readonly<Record<string, string>> = { WARNING: "warn", CRITICAL: "fatal" };
  return names[prefectLevel] ?? prefectLevel.toLowerCase();
}

/**
 * Returns the program's logging. Records go to `err` and announcements to `out`, as in the reference. `secrets` are
 * replaced in all output.
 */
export function createLogging(options: {
  format: LogFormat;
  level: string;
  colours: boolean;
  isTerminal: boolean;
  secrets: readonly string[];
  out: { write(text: string): unknown };
  err: { write(text: string): unknown };
}): Logging {
  const secrets = new SecretTexts();
  secrets.add(options.secrets);
  const redact = (text: string): string => secrets.redact(text);
  const isJson = options.format === "json";
  const destination = {
    write(line: string): void {
      const hasSecret = secrets.isIn(line);
      // Most lines have no secret, so they need no parsing.
      if (isJson && !hasSecret && !logging.onRecord) {
        options.err.write(line);
        return;
      }
      const parsed = JSON.parse(line) as PinoRecord;
      const record = hasSecret ? secrets.redactRecord(parsed) : parsed;
      const text = hasSecret ? `${JSON.stringify(record)}\n` : line;
      options.err.write(isJson ? text : formatText(record, options.colours));
      logging.onRecord?.(record);
    },
  };
  const writeChildLine: Logging["writeChildLine"] = (flow_run_id, { stream, text }) => {
    const out = stream === "stdout" ? options.out : options.err;
    const record = { level: 30, time: wallClockMs(), name: "prefect.flow_runs.output", flow_run_id, stream };
    out.write(isJson ? `${JSON.stringify({ ...record, msg: redact(text) })}\n` : `${redact(text)}\n`);
  };
  const root = pino({ level: pinoLevel(options.level), base: null, serializers: { err: serializeError } }, destination);
  const logging: Logging = {
    logger: root.child({ name: "lictor" }),
    named: (name) => root.child({ name }),
    redact,
    hide: (further) => secrets.add(further),
    onRecord: undefined,
    writeChildLine,
    inheritsOutput: options.isTerminal && !isJson,
    announce(message) {
      const safe = redact(message);
      options.out.write(
        isJson ? `${JSON.stringify({ level: 30, time: wallClockMs(), name: "lictor", msg: safe })}\n` : `${safe}\n`,
      );
    },
  };
  return logging;
}

function serializeError(error: unknown): { message: string; stack?: string } {
  if (!(error instanceof Error)) return { message: String(error) };
  const stack = stackWithCauses(error);
  return stack === "" ? { message: messageOf(error) } : { message: messageOf(error), stack };
}

/** Returns the message of an error. An AggregateError often has none, so the messages of its errors are joined. */
function messageOf(error: Error): string {
  if (error.message !== "" || !(error instanceof AggregateError)) return error.message;
  return error.errors.map((inner: unknown) => (inner instanceof Error ? inner.message : String(inner))).join("; ");
}

/** Causes are rarely nested more deeply, and circular causes must end. */
const MAX_CAUSES = 5;

/** Returns the stacks of the error and of its causes, one below the other. */
function stackWithCauses(error: Error): string {
  const stacks: string[] = [];
  for (let current: unknown = error; current !== undefined && stacks.length <= MAX_CAUSES; ) {
    const isError = current instanceof Error;
    stacks.push(isError ? ((current as Error).stack ?? (current as Error).message) : String(current));
    current = isError ? (current as Error).cause : undefined;
  }
  return stacks.join("\nCaused by: ");
}
