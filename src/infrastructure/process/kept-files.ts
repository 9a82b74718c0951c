// The files of a flow run that outlive the worker: its output and its temporary directories.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { OutputFiles } from "../../process/output-files.ts";
import type { InfrastructureServices } from "../pool-type.ts";

/** Returns the directory of the output files inside the directory of a flow run; null without one. */
export function outputIn(directory: string | null): string | null {
  return directory === null ? null : join(directory, "output");
}

/**
 * Opens the output files in `directory` and passes new lines on. Files of an earlier worker are read from where it stopped.
 * Throws the system's error.
 */
export async function openOutputFiles(
  { onOutput, log }: InfrastructureServices,
  flowRunId: string,
  directory: string,
): Promise<OutputFiles> {
  const onError = (error: unknown): void => {
    log.warn({ err: error, flow_run_id: flowRunId }, "The flow run's output cannot be read any more");
  };
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return await OutputFiles.open(directory, (line) => onOutput?.(flowRunId, line), onError);
}

/** Removes directories. Best effort, because a grandchild may still write there and so prevent the removal. */
export async function removeAll(directories: readonly string[]): Promise<void> {
  for (const path of directories) await rm(path, { recursive: true, force: true }).catch(() => {});
}
