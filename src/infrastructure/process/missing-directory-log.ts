// Logs that flow runs are not taken because there is no directory for temporary files.
import type { Logger } from "../../logger.ts";
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
