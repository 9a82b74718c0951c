// The code blocks of the documents, and the commands in those for a shell.
import type { Document } from "./documents.ts";

/** A code block. */
export interface CodeBlock {
  /** The document. */
  path: string;
  /** The number of its first line in the document. */
  line: number;
  language: string;
  text: string;
}

/** Returns the code blocks of a document. */
export function codeBlocksOf({ path, text }: Document): CodeBlock[] {
  return [...text.matchAll(/^```(\S*)\n([\s\S]*?)^```/gm)].map(({ 1: language = "", 2: block = "", index }) => ({
    path,
    line: text.slice(0, index).split("\n").length + 1,
    language,
    text: block,
  }));
}

/** Returns the name of the file that a block shows. Its first line is a comment with this name. */
export function fileNameOf({ text }: CodeBlock): string | undefined {
  return /^(?:#|\/\/) (\w+\.\w+)\n/.exec(text)?.[1];
}

/** Returns the commands of a block for a shell: its lines, and those that a backslash continues as one. */
export function commandsOf({ text }: CodeBlock): string[] {
  return text
    .replaceAll("\\\n", "\\\r")
    .split("\n")
    .map((line) => line.replaceAll("\r", "\n"))
    .filter((line) => line.trim() !== "" && !line.startsWith("#"));
}
