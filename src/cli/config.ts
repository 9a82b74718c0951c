// The commands `lictor config …`.
import type { Command } from "commander";
import type { ViewOptions } from "./config-actions.ts";
import { addCommand, inputOf, profileOf, withOutput } from "./options.ts";
import { withProgram } from "./program-context.ts";

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
      const { viewSettings } = await loadActions();
      await withProgram({ ...profileOf(command), logFormat: "text" }, async ({ settings }) =>
        viewSettings(settings, own),
      );
    });
  addCommand(config, "set <settings...>", "Change settings, as VAR=VAL, in the current profile.").action(
    async (settings: string[], _own: unknown, command: Command) => {
      await (await loadActions()).setSettings(settings, inputOf(command));
    },
  );
  addCommand(config, "unset <names...>", "Remove settings from the current profile.")
    .option("-y, --yes", "Skip confirmation.", false)
    .action(async (names: string[], { yes }: { yes: boolean }, command: Command) => {
      await (await loadActions()).unsetSettings(names, inputOf(command), yes);
    });
  addCommand(config, "validate", "Check the current profile, and give its settings their current names.").action(
    async (_own: unknown, command: Command) => {
      await (await loadActions()).validateSettings(inputOf(command));
    },
  );
}
