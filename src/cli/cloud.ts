// The commands `lictor cloud …`.
import type { Command } from "commander";
import { addCommand, type OutputOption, profileOf, withOutput } from "./options.ts";
import type { ProgramContext } from "./program-context.ts";

interface WorkspaceOption {
  workspace?: string;
}

const loadActions = () => import("./cloud-actions.ts");

/** Adds the command group `cloud`. */
export function addCloud(program: Command): void {
  const cloud = program.command("cloud").description("Authenticate with Prefect Cloud.").helpGroup("Settings:");
  withWorkspace(
    addCommand(cloud, "login", "Log in to Prefect Cloud: writes key and workspace into the current profile."),
  )
    .option("-k, --key <key>", "API key to authenticate with. [asked for on a terminal]")
    .action(async (own: WorkspaceOption & { key?: string }, command: Command) => {
      const { login } = await loadActions();
      await runWithProgram(command, (context) => login(context, own));
    });
  addCommand(cloud, "logout", "Remove key and workspace from the current profile.").action(
    async (_own: unknown, command: Command) => {
      const { logout, settingsInput } = await loadActions();
      await logout(settingsInput(profileOf(command)));
    },
  );
  const workspace = cloud
    .command("workspace")
    .alias("workspaces")
    .description("View and set Prefect Cloud workspaces.");
  withOutput(addCommand(workspace, "ls", "List the workspaces that the key can enter.")).action(
    async ({ output }: OutputOption, command: Command) => {
      const { listWorkspaces } = await loadActions();
      await runWithProgram(command, (context) => listWorkspaces(context, output));
    },
  );
  withWorkspace(addCommand(workspace, "set", "Write another workspace into the current profile.")).action(
    async (own: WorkspaceOption, command: Command) => {
      const { setWorkspace } = await loadActions();
      await runWithProgram(command, (context) => setWorkspace(context, own.workspace));
    },
  );
}

function withWorkspace(command: Command): Command {
  return command.option("-w, --workspace <handle>", "Full handle of a workspace: account/workspace.");
}

async function runWithProgram(command: Command, run: (program: ProgramContext) => Promise<void>): Promise<void> {
  const { withProgram } = await loadActions();
  await withProgram({ ...profileOf(command), logFormat: "text" }, run);
}
