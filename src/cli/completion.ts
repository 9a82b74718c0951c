// The commands `lictor completion SHELL`, and `lictor complete`, which the printed script calls.
import { Argument, type Command } from "commander";
import type { Shell } from "./completion-scripts.ts";

const shells: readonly Shell[] = ["bash", "zsh", "fish"];

const helpAfterOptions = `
  bash   source <(lictor completion bash)          in ~/.bashrc
  zsh    source <(lictor completion zsh)           in ~/.zshrc, after compinit
  fish   lictor completion fish | source           in ~/.config/fish/config.fish

Names of work pools, work queues, workers and deployments come from the server, if it responds within 500 ms.
`;

/** Adds the command `completion` and the hidden command `complete`. */
export function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("Print the script that completes lictor's command line in a shell.")
    .helpGroup("Settings:")
    .addArgument(new Argument("<shell>", "The shell.").choices(shells))
    .addHelpText("after", helpAfterOptions)
    .action(async (shell: Shell) => {
      const { printScript } = await import("./completion-actions.ts");
      printScript(shell);
    });
  program
    .command("complete", { hidden: true })
    .description("Print what can follow the words; the last one is not complete yet.")
    .argument("[words...]")
    .action(async (words: string[]) => {
      const { complete } = await import("./completion-actions.ts");
      await complete(program, words);
    });
}
