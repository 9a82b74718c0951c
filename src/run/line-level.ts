// Finds the level of a line that a program printed, so that the logs of a flow run can be filtered by it.
import type { OutputLine } from "../process/output-files.ts";

/** A line as a log record shows it. `level` is Python's number, from 10 (debug) to 50 (critical). */
export interface LeveledText {
  readonly level: number;
  readonly text: string;
  /** The task run that the line belongs to, if it says so. */
  readonly taskRunId: string | null;
}

const debug = 10;
const info = 20;
const warning = 30;
const error = 40;
const critical = 50;

const levels: Readonly<Record<string, number>> = {
  trace: debug,
  debug,
  verbose: debug,
  info,
  information: info,
  notice: info,
  success: info,
  warn: warning,
  warning,
  err: error,
  error,
  severe: error,
  fatal: critical,
  critical,
  crit: critical,
  alert: critical,
  emerg: critical,
  panic: critical,
};

const name = "(trace|debug|info|notice|warn|warning|error|fatal|critical)";
// 2026-01-31 12:00:00,123 or 2026-01-31T12:00:00.123Z or [12:00:00], and what may follow.
const time =
  "(?:\\[?(?:\\d{4}-\\d\\d-\\d\\d[T ])?\\d\\d:\\d\\d(?::\\d\\d)?(?:[.,]\\d+)?(?:Z|[+-]\\d\\d:?\\d\\d)?\\]?[\\s|-]+)?";
/** `[error] …` and `error: …` in any case. A word alone counts only in capitals, because a sentence may begin with it. */
const marked = new RegExp(`^\\s*${time}(?:[[<(]${name}[\\])>]|${name}:(?=\\s|$))`, "i");
const capitals = new RegExp(`^\\s*${time}${name.toUpperCase()}(?=[\\s|:\\]-]|$)`);
const logfmt = /(?:^|\s)(?:level|lvl|severity)=(?:"(\w+)"|(\w+))(?=\s|$)/;
const isLogfmt = /^\s*[\w.]+=/;

/**
 * Returns the level and the text of a line. A JSON object of pino, bunyan or a similar logger becomes its message and its
 * other fields. Without a level of its own, a line of stdout is INFO and one of stderr is ERROR.
 */
export function readLine({ stream, text }: OutputLine): LeveledText {
  const otherwise = stream === "stdout" ? info : error;
  const json = /^\s*\{.*\}\s*$/s.test(text) ? readJson(text) : null;
  if (json !== null) return { ...json, level: json.level ?? otherwise };
  const [, inBrackets, beforeColon] = marked.exec(text) ?? [];
  const [, inCapitals] = capitals.exec(text) ?? [];
  const [, quoted, plain] = (isLogfmt.test(text) && logfmt.exec(text)) || [];
  const found = inBrackets ?? beforeColon ?? inCapitals ?? quoted ?? plain;
  return { level: levels[found?.toLowerCase() ?? ""] ?? otherwise, text, taskRunId: null };
}

/** The fields that a log record has itself, or that say nothing in it. */
const ownFields = [
  "level",
  "severity",
  "levelname",
  "lvl",
  "msg",
  "message",
  "time",
  "timestamp",
  "ts",
  "v",
  "pid",
  "task_run_id",
  "hostname",
];

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Returns null if the line is no record of a logger. */
function readJson(text: string): (Omit<LeveledText, "level"> & { level: number | undefined }) | null {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
  const level = toLevel(record.level ?? record.severity ?? record.levelname ?? record.lvl);
  const message = record.msg ?? record.message;
  if (typeof message !== "string") return level === undefined ? null : { level, text, taskRunId: null };
  const others = Object.entries(record).filter(([key]) => !ownFields.includes(key));
  const rest = others.length > 0 ? ` ${JSON.stringify(Object.fromEntries(others))}` : "";
  // The server refuses a whole batch with an id that is none.
  const taskRunId = uuid.test(String(record.task_run_id)) ? String(record.task_run_id) : null;
  return { level, text: message + rest, taskRunId };
}

/** Numbers are those of pino and bunyan, from 10 (trace) to 60 (fatal). */
function toLevel(value: unknown): number | undefined {
  if (typeof value === "string")
    return Object.hasOwn(levels, value.toLowerCase()) ? levels[value.toLowerCase()] : undefined;
  return typeof value === "number" && value > 0
    ? Math.min(critical, Math.max(debug, Math.floor(value / 10) * 10 - 10))
    : undefined;
}
