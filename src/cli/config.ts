// The commands `lictor config …`.
import type { Command } from "commander";
import type { ViewOptions } from "./config-actions.ts";
import { addCommand, profileOf, withOutput } from "./options.ts";

const loadActions = () => import("./config-actions.ts");

/** Adds the command group `config`. */
export function addConfig(program: Command): void {
  const config = program.command("config").description("View and set settings.").helpGroup("Settings:");
  withOutput(addCommand(config, "view", "Display the current settings."))
    .option("--show-defaults", "Show default values.", false)
    .option("--hide-defaults", "Leave default values out.")
    .option("--show-sources", "Show value sources.", true)
    .option("--hide-sources", "Leave value sources out.")
    .option("--show-secrets", "Show secret values.", false)
    .option("--hide-secrets", "Mask secret values.")
    .action(async (own: ViewOptions, command: Command) => {
      const { viewSettings, withProgram } = await loadActions();
      await withProgram({ ...profileOf(command), logFormat: "text" }, async ({ settings }) =>
        viewSettings(settings, own),
      );
    });
  addCommand(config, "set <settings...>", "Change settings, as VAR=VAL, in the current profile.").action(
    async (settings: string[], _own: unknown, command: Command) => {
      const { setSettings, settingsInput } = await loadActions();
      await setSettings(settings, settingsInput(profileOf(command)));
    },
  );
  addCommand(config, "unset <names...>", "Remove settings from the current profile.")
    .option("-y, --yes", "Skip confirmation.", false)
    .action(async (names: string[], { yes }: { yes: boolean }, command: Command) => {
      const { settingsInput, unsetSettings } = await loadActions();
      await unsetSettings(names, settingsInput(profileOf(command)), yes);
    });
  addCommand(config, "validate", "Check the current profile, and give its settings their current names.").action(
    async (_own: unknown, command: Command) => {
      const { settingsInput, validateSettings } = await loadActions();
      await validateSettings(settingsInput(profileOf(command)));
    },
  );
}
