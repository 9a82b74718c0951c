// Reads the texts of messages from the source: what is logged as a warning or an error, and what errors of users say.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "../support/checkout.ts";

/** The errors whose messages users read. The others are explained by those that catch them. */
const errorClasses = [
  "WorkerStartError",
  "SettingsError",
  "JobConfigurationError",
  "TemplateError",
  "CommandError",
  "ImageError",
  "DockerSettingError",
  "EngineAddressError",
  "ClusterConfigError",
];

/** A text in the source that is part of a message. */
export interface MessageText {
  file: string;
  /** The longest part without a variable. */
  text: string;
}

const call = new RegExp(
  `\\b(?:log|logger|logOf\\([^)]*\\)|this)\\.(?:warn|error|fatal)\\(|new (?:${errorClasses.join("|")})\\(`,
  "g",
);

/** A variable in a text of TypeScript or of Python. The text may end in one that contains a text itself. */
const variable = /\$?\{(?:[^{}]|\{[^{}]*\})*(?:\}|$)/;

/** Shorter texts, such as `: `, are found in any document. */
const leastLength = 10;

/** Returns the texts of all messages. The doctor's are left out, because they have their advice beside them. */
export async function readMessageTexts(): Promise<MessageText[]> {
  const root = inCheckout("src");
  const files = (await readdir(root, { recursive: true })).filter(
    (file) => file.endsWith(".ts") && !/^(doctor|status\/page)\//.test(file),
  );
  const texts = await Promise.all(
    files.sort().map(async (file) => {
      const source = await readFile(join(root, file), "utf8");
      return [...source.matchAll(call)].flatMap((match) =>
        longestText(source.slice(match.index + match[0].length)).map((text) => ({ file, text })),
      );
    }),
  );
  return texts.flat();
}

/** Returns the longest constant text in the arguments of the call that begins here; none if they have no long text. */
function longestText(source: string): string[] {
  const parts = argumentTexts(source)
    .flatMap((text) => text.split(variable))
    .map((text) => text.trim())
    .filter((text) => text.length >= leastLength)
    .sort((one, other) => other.length - one.length);
  return parts.slice(0, 1);
}

/** Returns the texts in quotes up to the bracket that ends the arguments. */
function argumentTexts(source: string): string[] {
  const texts: string[] = [];
  let depth = 1;
  for (let index = 0; index < source.length && depth > 0; index++) {
    const character = source[index] ?? "";
    if (character === "(") depth++;
    else if (character === ")") depth--;
    else if (`"'\``.includes(character)) {
      const end = endOfText(source, index);
      texts.push(source.slice(index + 1, end).replace(/\\(["'`\\])/g, "$1"));
      index = end;
    }
  }
  return texts;
}

function endOfText(source: string, start: number): number {
  let index = start + 1;
  while (index < source.length && source[index] !== source[start]) index += source[index] === "\\" ? 2 : 1;
  return index;
}
