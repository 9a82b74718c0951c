// The commands `lictor worker status` and `lictor worker drain`.
import type { Command } from "commander";
import { addCommand, profileOf } from "./options.ts";

const loadActions = () => import("./worker-control-actions.ts");

/** Adds `status` and `drain` to the command group `worker`. */
export function addWorkerControl(worker: Command): void {
  addCommand(worker, "status", "Show the workers that run on this machine, and their flow runs.")
    .option("--json", "Print everything that the workers say, as JSON.", false)
    .action(async (_own: unknown, command: Command) => {
      const { showStatus, withProgram } = await loadActions();
      await withProgram(profileOf(command), (program) => showStatus(program, command.opts().json));
    });
  addCommand(worker, "drain", "Let workers of this machine take no new flow runs and end when theirs have ended.")
    .option("-p, --pool <pool>", "Only workers of this work pool.")
    .option("--wait", "Return when the workers have ended.", false)
    .action(async (_own: unknown, command: Command) => {
      const { pool, wait } = command.opts<{ pool?: string; wait: boolean }>();
      const { drain, withProgram } = await loadActions();
      await withProgram(profileOf(command), (program) => drain(program, pool, wait));
    });
}
