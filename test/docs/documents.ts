// Reads the documents of the project: their links, headings and command lines.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { inCheckout } from "../support/checkout.ts";

/** One document. */
export interface Document {
  /** Relative to the checkout. */
  path: string;
  text: string;
}

/** A link to a file of the project. */
export interface Link {
  from: string;
  target: string;
  /** The heading behind `#`, or an empty text. */
  anchor: string;
}

/** A line of a code block, or code in the text. */
export interface CommandLine {
  path: string;
  line: string;
}

/** Returns all documents: those at the top, and those below docs/. */
export async function readDocuments(): Promise<Document[]> {
  const top = (await readdir(inCheckout("."))).filter((name) => name.endsWith(".md"));
  const below = await readdir(inCheckout("docs"), { recursive: true });
  const paths = [...top, ...below.filter((name) => name.endsWith(".md")).map((name) => join("docs", name))];
  return await Promise.all(
    paths.sort().map(async (path) => ({ path, text: await readFile(inCheckout(path), "utf8") })),
  );
}

/** Returns the links of a document that stay in the project. */
export function linksOf({ path, text }: Document): Link[] {
  const targets = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = "", anchor = ""] = target.split("#");
      return { from: path, target: file === "" ? path : normalize(join(dirname(path), file)), anchor };
    });
}

/** Returns the anchors of the headings, as GitHub makes them. */
export function anchorsOf({ text }: Document): string[] {
  const headings = [...withoutCode(text, /^```[\s\S]*?^```/gm).matchAll(/^#+ (.*)$/gm)];
  return headings.map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/**
 * Returns the command lines of a program in blocks for a shell and in code in the text, without comments and without what
 * follows `|`, `&&` or `;`.
 */
export function commandLinesOf({ path, text }: Document, program: string): CommandLine[] {
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block = ""]) => block.split("\n"));
  const inText = [...withoutCode(text, /^```[\s\S]*?^```/gm).matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);
  const start = new RegExp(`^(?:\\w+=\\S+ |source <\\()*(${program} .*)$`);
  return [...blocks, ...inText]
    .flatMap((line) => line.replace(/(^|\s)# .*$/, "").split(/\s(?:\||&&|;)\s|[)]/))
    .map((line) => start.exec(line.trim())?.[1])
    .filter((line) => line !== undefined)
    .map((line) => ({ path, line }));
}

function withoutCode(text: string, code = /^```[\s\S]*?^```|`[^`\n]*`/gm): string {
  return text.replace(code, "");
}
