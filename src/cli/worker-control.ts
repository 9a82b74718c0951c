// The commands `lictor worker status` and `drain` for the workers of this machine, `ls` and `inspect` for those of a work pool.
import type { Command } from "commander";
import { addCommand, type OutputOption, poolName, profileOf, withOutput } from "./options.ts";

const loadActions = () => import("./worker-control-actions.ts");
const loadOperatorActions = () => import("./operator-actions.ts");

/** Adds these commands to the command group `worker`. */
export function addWorkerControl(worker: Command): void {
  addCommand(worker, "status", "Show the workers that run on this machine, and their flow runs.")
    .option("--json", "Print everything that the workers say, as JSON.", false)
    .action(async (_own: unknown, command: Command) => {
      const { showStatus, withProgram } = await loadActions();
      await withProgram(profileOf(command), (program) => showStatus(program, command.opts().json));
    });
  addCommand(worker, "drain", "Let workers of this machine take no new flow runs and end when theirs have ended.")
    .option("-p, --pool <pool>", "Only workers of this work pool.", poolName)
    .option("--wait", "Return when the workers have ended.", false)
    .action(async (_own: unknown, command: Command) => {
      const { pool, wait } = command.opts<{ pool?: string; wait: boolean }>();
      const { drain, withProgram } = await loadActions();
      await withProgram(profileOf(command), (program) => drain(program, pool, wait));
    });
  withOutput(addCommand(worker, "ls", "List the workers of a work pool that the server knows."))
    .requiredOption("-p, --pool <pool>", "The work pool.", poolName)
    .action(async ({ output, pool }: OutputOption & { pool: string }, command: Command) => {
      const { listWorkers, withProgram } = await loadOperatorActions();
      await withProgram({ ...profileOf(command), logFormat: "text" }, (program) => listWorkers(program, pool, output));
    });
  withOutput(addCommand(worker, "inspect <name>", "Inspect a worker of a work pool."))
    .requiredOption("-p, --pool <pool>", "The work pool.", poolName)
    .action(async (name: string, { output, pool }: OutputOption & { pool: string }, command: Command) => {
      const { inspectWorker, withProgram } = await loadOperatorActions();
      await withProgram({ ...profileOf(command), logFormat: "text" }, (program) =>
        inspectWorker(program, pool, name, output),
      );
    });
}
