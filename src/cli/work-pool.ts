// The commands `lictor work-pool …`, with the options of Prefect's.
import type { Command } from "commander";
import { addCommand, helpText, type OutputOption, poolName, profileOf, wholeNumber, withOutput } from "./options.ts";
import type { ProgramContext } from "./program-context.ts";

const loadActions = () => import("./operator-actions.ts");

/** Adds the command group `work-pool`. */
export function addWorkPool(program: Command): void {
  const pool = program.command("work-pool").alias("work-pools").description("Manage work pools.").helpGroup("Look:");
  withOutput(addCommand(pool, "ls", "List work pools."))
    .option("-v, --verbose", "Show additional information about work pools.", false)
    .action(async ({ output, verbose }: OutputOption & { verbose: boolean }, command: Command) => {
      const { listWorkPools } = await loadActions();
      await run(command, (context) => listWorkPools(context, { output, verbose }));
    });
  withOutput(addCommand(pool, "inspect", "Inspect a work pool."))
    .argument("<name>", "The name of the work pool.", poolName)
    .action(async (name: string, { output }: OutputOption, command: Command) => {
      const { inspectWorkPool } = await loadActions();
      await run(command, (context) => inspectWorkPool(context, name, output));
    });
  for (const [word, description, isPaused] of [
    ["pause", "Pause a work pool: its workers take no new flow runs.", true],
    ["resume", "Resume a work pool.", false],
  ] as const) {
    addCommand(pool, word, description)
      .argument("<name>", "The name of the work pool.", poolName)
      .action(async (name: string, _own: unknown, command: Command) => {
        const { pauseWorkPool } = await loadActions();
        await run(command, (context) => pauseWorkPool(context, name, isPaused));
      });
  }
  withOutput(addCommand(pool, "preview", "Preview the work pool's scheduled work for all queues."))
    .argument("<name>", "The name of the work pool.", poolName)
    // As with Prefect, -h is not the help here.
    .helpOption("--help", helpText)
    .option("-h, --hours <hours>", "The number of hours to look ahead.", wholeNumber(0, 1_000_000), 1)
    .action(async (name: string, { output, hours }: OutputOption & { hours: number }, command: Command) => {
      const { previewWorkPool } = await loadActions();
      await run(command, (context) => previewWorkPool(context, name, { output, hours }));
    });
}

async function run(command: Command, action: (program: ProgramContext) => Promise<void>): Promise<void> {
  const { withProgram } = await loadActions();
  await withProgram({ ...profileOf(command), logFormat: "text" }, action);
}
