// The command `lictor version`, which prints the versions of lictor, Node.js and the server.
import type { Command } from "commander";

/** Adds the command `version`. */
export function addVersion(program: Command): void {
  program
    .command("version")
    .description("Get the current lictor version and what it is connected to.")
    .helpGroup("Look:")
    .option("--profile <name>", "Select a profile for this run.")
    .action(async (_own: unknown, command: Command) => {
      const { printVersion, withProgram } = await import("./version-actions.ts");
      await withProgram({ logFormat: "text", ...command.optsWithGlobals() }, printVersion);
    });
}
