// The commands `lictor profile …`.
import type { Command } from "commander";
import { addCommand, inputOf, type OutputOption, withOutput } from "./options.ts";

const loadActions = () => import("./profile-actions.ts");

/** Adds the command group `profile`. */
export function addProfileCommands(program: Command): void {
  const profile = program
    .command("profile")
    .alias("profiles")
    .description("Select and manage profiles.")
    .helpGroup("Settings:");
  withOutput(addCommand(profile, "ls", "List the profiles of the profiles file.")).action(
    async ({ output }: OutputOption, command: Command) => {
      (await loadActions()).listProfiles(inputOf(command), output);
    },
  );
  addCommand(profile, "create <name>", "Create a new profile.")
    .option("--from <name>", "Copy an existing profile.")
    .action(async (name: string, { from }: { from?: string }, command: Command) => {
      await (await loadActions()).createProfile(inputOf(command), name, from);
    });
  addCommand(profile, "use <name>", "Set the given profile to active.").action(
    async (name: string, _own: unknown, command: Command) => {
      await (await loadActions()).useProfile(inputOf(command), name);
    },
  );
  withOutput(addCommand(profile, "inspect [name]", "Display the settings of a profile; of the active one by default."))
    .option("--show-secrets", "Show secret values.", false)
    .action(async (name: string | undefined, own: OutputOption & { showSecrets: boolean }, command: Command) => {
      (await loadActions()).inspectProfile(inputOf(command), name, own);
    });
  addCommand(profile, "rename <name> <new-name>", "Change the name of a profile.").action(
    async (name: string, newName: string, _own: unknown, command: Command) => {
      await (await loadActions()).renameProfileTo(inputOf(command), name, newName);
    },
  );
  addCommand(profile, "delete <name>", "Delete the given profile.").action(
    async (name: string, _own: unknown, command: Command) => {
      await (await loadActions()).deleteProfile(inputOf(command), name);
    },
  );
  addCommand(profile, "populate-defaults", "Add the profiles that Prefect has built in to the profiles file.").action(
    async (_own: unknown, command: Command) => {
      await (await loadActions()).populateDefaults(inputOf(command));
    },
  );
}
