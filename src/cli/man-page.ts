// Makes the man page from the definitions of the commands. Run by the build.
import type { EventEmitter } from "node:events";
import type { Command, Option } from "commander";
import { buildProgram, commandPath, visibleCommands } from "./program.ts";

/** Returns the man page `lictor(1)` in the language of man. */
export function manPage(version: string): string {
  const program = buildProgram();
  const [, ...commands] = visibleCommands(program);
  const leaves = commands.filter((command) => command.commands.length === 0);
  return [
    `.TH LICTOR 1 "" "lictor ${version}" "User Commands"`,
    ".SH NAME",
    "lictor \\- a Prefect\\-compatible worker",
    ".SH SYNOPSIS",
    ".B lictor",
    "[\\fIoptions\\fR] \\fIcommand\\fR",
    ".SH DESCRIPTION",
    paragraph("lictor runs the flow runs of Prefect's work pools, as `prefect worker start` does."),
    ".SH OPTIONS",
    ...optionLines(program),
    ".SH COMMANDS",
    ...leaves.flatMap(commandLines),
    ".SH EXAMPLES",
    ...verbatim(helpAfter(program)),
    ".SH SEE ALSO",
    paragraph("lictor COMMAND --help, and the pages in docs/ of the project."),
    "",
  ].join("\n");
}

function commandLines(command: Command): string[] {
  const usage = command.usage().replace("[options]", "").trim();
  return [
    `.SS "${escapeText(`lictor ${commandPath(command)} ${usage}`.trim())}"`,
    paragraph(command.description()),
    ...optionLines(command),
    ...verbatim(helpAfter(command)),
  ];
}

function optionLines(command: Command): string[] {
  const helper = command.createHelp();
  const options = helper.visibleOptions(command).filter(({ long }) => long !== "--help");
  const text = (option: Option) => helper.optionDescription(option);
  return options.flatMap((option) => [".TP", `\\fB${escapeText(option.flags)}\\fR`, paragraph(text(option))]);
}

/** Returns what the help shows after the options. */
function helpAfter(command: Command): string {
  let text = "";
  const write = (part: string) => {
    text += part;
  };
  // Commander's types hide that a command is an EventEmitter.
  (command as unknown as EventEmitter).emit("afterHelp", { error: false, command, write });
  return text.trim();
}

function verbatim(text: string): string[] {
  return text === "" ? [] : [".PP", ".nf", ...text.split("\n").map(paragraph), ".fi"];
}

/** Returns a line of text in which nothing is taken for a request of man. */
function paragraph(line: string): string {
  return escapeText(line).replace(/^(?=[.'])/, "\\&");
}

function escapeText(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll('"', "\\(dq");
}
