// Makes docs/settings.md from the tables of definitions.
import { variableOf } from "../../src/settings/catalogue.ts";
import { DEFINITIONS } from "../../src/settings/definitions.ts";
import { type Definition, formatValue } from "../../src/settings/parse.ts";
import { PASSED_ON_DEFINITIONS } from "../../src/settings/passed-on-definitions.ts";
import { lictorVariables, programVariables, settingMeanings } from "./setting-meanings.ts";

const head = `# Settings

<!-- Written by \`npm run docs\`. Change test/docs/, not this file. -->

\`\`\`sh
lictor config view --show-defaults                  # every setting, and the source it comes from
lictor config set PREFECT_WORKER_QUERY_SECONDS=5    # writes into the active profile
lictor config validate
\`\`\`

A setting may come from several sources. The first one wins: the environment, \`.env\`, \`prefect.toml\`, \`[tool.prefect]\` in
\`pyproject.toml\`, the active profile, the default. \`--profile\` (or \`-p\` before the command) selects the active profile.
Without it, \`PREFECT_PROFILE\` does, then \`active\` in \`profiles.toml\`.

If a value is below its minimum, lictor uses the minimum and prints a warning. All intervals are at most 1,000,000 s. Flow
runs still get the value as it was given.

## Prefect's settings

These are what a worker reads. Names in \`prefect.toml\` and \`pyproject.toml\` are in the second column. Older names are accepted.
`;

/** Returns the text of docs/settings.md. */
export function settingsPage(): string {
  const isOwn = ({ fileOf }: Definition) => fileOf !== undefined;
  const all: [string, Definition][] = Object.entries(DEFINITIONS);
  const row = ([name, definition]: [string, Definition]): string[] => [
    `\`${name}\``,
    `\`${definition.toml}\``,
    [settingMeanings[name as keyof typeof settingMeanings], limits(definition)].filter(Boolean).join(" "),
    defaultText(definition),
  ];
  const header = ["setting", "in prefect.toml", "meaning", "default"];
  const handedOn = Object.entries(PASSED_ON_DEFINITIONS).map(([path, { default: value, alias }]) => [
    `\`${variableOf(path)}\``,
    alias ? `\`${alias}\`` : "",
    value === null || value === "None" ? "" : `\`${value}\``,
  ]);
  return [
    head,
    ...table(header, all.filter(([, definition]) => !isOwn(definition)).map(row)),
    "",
    "## lictor's own settings",
    "",
    "Prefect ignores them, also in a profile.",
    "",
    ...table(header, all.filter(([, definition]) => isOwn(definition)).map(row)),
    "",
    "These are variables of the environment only:",
    "",
    ...table(
      ["variable", "meaning", "default"],
      Object.entries(lictorVariables).map(([name, [meaning, value]]) => [`\`${name}\``, meaning, value]),
    ),
    "",
    "Variables of other programs that lictor reads: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`",
    "([Authentication](authentication.md#tls-and-proxies)), `DOCKER_HOST` and others ([Docker](docker.md)), `TMPDIR`, `TEMP`, `TMP`",
    "([Temporary files](engines.md#temporary-files)), `VIRTUAL_ENV`, `NO_COLOR`, and those of systemd",
    "([Operations](operations.md#as-a-service-of-systemd)).",
    "",
    "## Variables of programs",
    "",
    "lictor sets these for [any program](any-program.md) and for [TypeScript flows](typescript.md).",
    "",
    ...table(
      ["variable", "meaning"],
      Object.entries(programVariables).map(([name, meaning]) => [`\`${name}\``, meaning]),
    ),
    "",
    "## Settings that are only handed on",
    "",
    "lictor does not read these. They may be written into a profile, and flow runs get them.",
    "",
    ...table(["setting", "older name", "default of Prefect"], handedOn),
    "",
  ].join("\n");
}

function limits({ floor, min, alias }: Definition): string {
  const least = floor ?? min;
  return [least ? `At least ${least}.` : "", alias ? `Formerly \`${alias}\`.` : ""].filter(Boolean).join(" ");
}

function defaultText(definition: Definition): string {
  const { default: value } = definition;
  if (value === null || (Array.isArray(value) && value.length === 0)) return "";
  if (typeof value === "object") return `\`${JSON.stringify(value)}\``;
  return `\`${typeof value === "string" ? value : formatValue(definition, value as never)}\``;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`.replaceAll("|  |", "| |");
  return [line(header), line(header.map(() => "---")), ...rows.map(line)];
}
