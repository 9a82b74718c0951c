// The commands `lictor profile …`.
import type { Command } from "commander";
import { addCommand, type OutputOption, profileOf, withOutput } from "./options.ts";

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
      const { listProfiles, settingsInput } = await loadActions();
      listProfiles(settingsInput(profileOf(command)), output);
    },
  );
  addCommand(profile, "create <name>", "Create a new profile.")
    .option("--from <name>", "Copy an existing profile.")
    .action(async (name: string, { from }: { from?: string }, command: Command) => {
      const { createProfile, settingsInput } = await loadActions();
      await createProfile(settingsInput(profileOf(command)), name, from);
    });
  addCommand(profile, "use <name>", "Set the given profile to active.").action(
    async (name: string, _own: unknown, command: Command) => {
      const { settingsInput, useProfile } = await loadActions();
      await useProfile(settingsInput(profileOf(command)), name);
    },
  );
  withOutput(addCommand(profile, "inspect [name]", "Display the settings of a profile; of the active one by default."))
    .option("--show-secrets", "Show secret values.", false)
    .action(async (name: string | undefined, own: OutputOption & { showSecrets: boolean }, command: Command) => {
      const { inspectProfile, settingsInput } = await loadActions();
      inspectProfile(settingsInput(profileOf(command)), name, own);
    });
  addCommand(profile, "rename <name> <new-name>", "Change the name of a profile.").action(
    async (name: string, newName: string, _own: unknown, command: Command) => {
      const { renameProfileTo, settingsInput } = await loadActions();
      await renameProfileTo(settingsInput(profileOf(command)), name, newName);
    },
  );
  addCommand(profile, "delete <name>", "Delete the given profile.").action(
    async (name: string, _own: unknown, command: Command) => {
      const { deleteProfile, settingsInput } = await loadActions();
      await deleteProfile(settingsInput(profileOf(command)), name);
    },
  );
  addCommand(profile, "populate-defaults", "Add the profiles that Prefect has built in to the profiles file.").action(
    async (_own: unknown, command: Command) => {
      const { populateDefaults, settingsInput } = await loadActions();
      await populateDefaults(settingsInput(profileOf(command)));
    },
  );
}
