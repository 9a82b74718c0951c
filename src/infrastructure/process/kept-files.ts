// The files of a flow run that outlive the worker: its output and its temporary directories.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { OutputFiles, type OutputLine } from "../../process/output-files.ts";
import type { LinesSettled } from "../../process/stored-position.ts";
import type { InfrastructureServices, RunAccess } from "../pool-type.ts";

/** Returns the directory of the output files inside the directory of a flow run; null without one. */
export function outputIn(directory: string | null): string | null {
  return directory === null ? null : join(directory, "output");
}

/** What becomes of the lines of a flow run: they are printed unless they are not wanted, and passed on to its reporter. */
export function toLineReader(
  { onOutput, printLine }: InfrastructureServices,
  { flowRunId, onLine }: Pick<RunAccess, "flowRunId" | "onLine">,
  { isPrinted }: { isPrinted: boolean },
): (line: OutputLine) => void {
  const print = onOutput ?? printLine;
  return (line) => {
    if (isPrinted) print(flowRunId, line);
    onLine?.(line);
  };
}

/** Where the output files are, and what becomes of their lines. */
interface OutputPlace {
  readonly flowRunId: string;
  readonly directory: string;
  readonly onLine: (line: OutputLine) => void;
  readonly settled?: LinesSettled | null | undefined;
}

/**
 * Opens the output files in `directory` and passes new lines on. Files of an earlier worker are read from where it stopped.
 * Throws the system's error.
 */
export async function openOutputFiles(
  { log }: InfrastructureServices,
  { flowRunId, directory, ...lines }: OutputPlace,
): Promise<OutputFiles> {
  const onError = (error: unknown): void => {
    log.warn({ err: error, flow_run_id: flowRunId }, "The flow run's output cannot be read any more");
  };
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return await OutputFiles.open(directory, { ...lines, onError });
}

/** Removes directories. Best effort, because a grandchild may still write there and so prevent the removal. */
export async function removeAll(directories: readonly string[]): Promise<void> {
  for (const path of directories) await rm(path, { recursive: true, force: true }).catch(() => {});
}
