// Logs problems of the machine once per reason, however many flow runs meet them.
import type { Logger } from "../../logger.ts";
import { systemCode } from "../../process/system-errors.ts";
import type { TemporaryDirectoryFinding } from "../../process/temporary-directory.ts";

/**
 * Returns a function that takes each finding in turn. It warns once while no directory is found, and again if the reason
 * changes. It says once that there is a directory again.
 */
export function logMissingDirectory(log: Logger): (finding: TemporaryDirectoryFinding) => void {
  let warned: string | null = null;
  return (finding) => {
    const message = finding.kind === "none" ? finding.message : null;
    if (message === warned) return;
    warned = message;
    if (message !== null) log.warn(`${message} Until then no flow runs are taken.`);
    else log.info("There is a directory for temporary files again. Flow runs are taken.");
  };
}

/**
 * Returns a function that takes the error of each flow run whose output files could not be opened, or null if they could. It
 * warns once per error code.
 */
export function logUnkeptOutput(log: Logger): (error: unknown) => void {
  let warned: string | null = null;
  return (error) => {
    const code = error === null ? null : (systemCode(error) ?? "unknown");
    if (code === warned) return;
    warned = code;
    const effect = "It goes directly to the worker's output";
    if (code !== null) log.warn({ err: error }, `The output of flow runs cannot be kept. ${effect}`);
    else log.info("The output of flow runs is kept again.");
  };
}
