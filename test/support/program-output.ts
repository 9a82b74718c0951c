// What a long-running program has printed so far, and waiting for more of it.
import type { ChildProcessByStdio } from "node:child_process";
import type { Readable } from "node:stream";
import { waitFor } from "./wait-for.ts";

/** Grows while the program runs. */
export interface ProgramOutput {
  readonly stdout: string;
  readonly stderr: string;
  /** The first match in stdout, else in stderr, as soon as there is one; fails at once if the program has ended. */
  waitForOutput(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray>;
}

/**
 * Sends a signal until the program prints what the signal is for. Signals within a second of one that counted do not count,
 * so a single one may come too early.
 */
export async function signalUntil(
  program: ProgramOutput & { signal(signal: NodeJS.Signals): void },
  signal: NodeJS.Signals,
  pattern: RegExp,
): Promise<void> {
  await waitFor(
    () => {
      if (pattern.test(program.stderr)) return true;
      program.signal(signal);
      return false;
    },
    { timeoutMs: 20_000, intervalMs: 200, what: `output ${pattern} after ${signal}` },
  );
}

/**
 * Collects both streams of a child, each line also handed to `onLine` if given. The lines of flow runs stand in the collected
 * text as they were printed, whether lictor passed them on as JSON records or not.
 */
export function collectOutput(
  child: ChildProcessByStdio<null, Readable, Readable>,
  onLine?: (line: string) => void,
): ProgramOutput {
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    let [finished, unfinished] = ["", ""];
    child[name].setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (unfinished + chunk).split("\n");
      unfinished = lines.pop() ?? "";
      for (const line of lines) onLine?.(line);
      finished += lines.map((line) => `${asPrinted(line)}\n`).join("");
      text[name] = finished + unfinished;
    });
  }
  const ended = () => child.exitCode !== null || child.signalCode !== null;

  const all = () => `--- stdout\n${text.stdout}--- stderr\n${text.stderr}`;
  const find = (pattern: RegExp) => pattern.exec(text.stdout) ?? pattern.exec(text.stderr);
  return {
    get stdout() {
      return text.stdout;
    },
    get stderr() {
      return text.stderr;
    },
    async waitForOutput(pattern, timeoutMs) {
      const seen = () => find(pattern) ?? (ended() ? "ended" : undefined);
      const end = await waitFor(seen, { timeoutMs, what: `output ${pattern}`, intervalMs: 10 }).catch(
        (error: Error) => {
          throw new Error(`${error.message}\n${all()}`);
        },
      );
      if (end === "ended") throw new Error(`the program ended without output ${pattern}\n${all()}`);
      return end;
    },
  };
}

function asPrinted(line: string): string {
  return line.includes('"name":"prefect.flow_runs.output"') ? (JSON.parse(line) as { msg: string }).msg : line;
}
