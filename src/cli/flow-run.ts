// The commands `lictor flow-run …`, with the options of Prefect's.
import { type Command, InvalidArgumentError } from "commander";
import type { FlowRunFilter, LogRange } from "./flow-run-actions.ts";
import { addCommand, collect, helpText, type OutputOption, profileOf, wholeNumber, withOutput } from "./options.ts";
import type { ProgramContext } from "./program-context.ts";

const loadActions = () => import("./operator-actions.ts");

/** Adds the command group `flow-run`. */
export function addFlowRun(program: Command): void {
  const flowRun = program
    .command("flow-run")
    .alias("flow-runs")
    .description("Interact with flow runs.")
    .helpGroup("Look:");
  withOutput(addCommand(flowRun, "ls", "View recent flow runs or flow runs for specific flows."))
    .option("--flow-name <name>", "Name of the flow (repeatable).", collect)
    .option("--limit <count>", "Maximum number of flow runs to list.", wholeNumber(1), 15)
    .option("--state <name>", "Name of the flow run's state (repeatable).", collect)
    .option("--state-type <type>", "Type of the flow run's state (repeatable).", collect)
    .action(async (own: OutputOption & FlowRunFilter, command: Command) => {
      const { listFlowRuns } = await loadActions();
      await run(command, (context) => listFlowRuns(context, own));
    });
  withOutput(addCommand(flowRun, "logs", "View logs for a flow run."))
    .argument("<id>", "The id of the flow run.", toUuid)
    // As with Prefect, -h is not the help here.
    .helpOption("--help", helpText)
    .option("-h, --head", "Show the first 20 logs instead of all logs.", false)
    .option("-n, --num-logs <count>", "Number of logs to show when using the --head or --tail flag.", wholeNumber(1))
    .option("-r, --reverse", "Reverse the logs order to print the most recent logs first.", false)
    .option("-t, --tail", "Show the last 20 logs instead of all logs.", false)
    .action(async (id: string, own: OutputOption & LogRange, command: Command) => {
      const { printLogs } = await loadActions();
      await run(command, (context) => printLogs(context, id, own));
    });
  addCommand(flowRun, "cancel", "Cancel a flow run by ID.")
    .argument("<id>", "The id of the flow run.", toUuid)
    .action(async (id: string, _own: unknown, command: Command) => {
      const { cancel } = await loadActions();
      await run(command, (context) => cancel(context, id));
    });
}

function toUuid(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError("Expected an id such as 2a6c02a4-61f3-41ea-9173-73f7a59f8460.");
}

async function run(command: Command, action: (program: ProgramContext) => Promise<void>): Promise<void> {
  const { withProgram } = await loadActions();
  await withProgram({ ...profileOf(command), logFormat: "text" }, action);
}
