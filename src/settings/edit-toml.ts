// Changes single keys and tables of a TOML text and leaves the rest as it is. A key is found below a header, as a dotted
// key, and in an inline table.
import { stringify } from "smol-toml";
import { scanToml, type TomlEntry, type TomlScan } from "./scan-toml.ts";

type Path = readonly string[];

/** Sets the key at `path` to a string. Returns the new text, as all exported functions here do. */
export function setKey(text: string, path: Path, value: string): string {
  const { entries } = scanToml(text);
  const existing = entries.find((entry) => entry.kind === "value" && isSame(entry.path, path));
  if (existing !== undefined) return splice(text, existing.valueStart, existing.end, quoted(value));
  // If the key was a table, the table has to be removed first.
  const cleared = removeKey(text, path);
  return addKey(cleared, scanToml(cleared).entries, path, quoted(value));
}

/** Adds an empty table at `path`, unless there is one. */
export function addTable(text: string, path: Path): string {
  const { entries } = scanToml(text);
  if (entries.some((entry) => startsWith(entry.path, path))) return text;
  const holder = inlineHolder(entries, path);
  if (holder !== undefined) return addInline(text, entries, holder, `${keyText(path.slice(holder.path.length))} = {}`);
  return append(text, `[${keyText(path)}]`);
}

/** Removes the key or table at `path`, with its comments. */
export function removeKey(text: string, path: Path): string {
  for (let rest = text; ; ) {
    const scan = scanToml(rest);
    const entry = scan.entries.find((candidate) => startsWith(candidate.path, path));
    if (entry === undefined) return rest;
    rest = splice(rest, ...rangeOf(rest, scan, entry), "");
  }
}

/** Renames the key or table at `path`. */
export function renameKey(text: string, path: Path, name: string): string {
  const places = scanToml(text).entries.flatMap((entry) => {
    const part = entry.parts[path.length - 1 - (entry.path.length - entry.parts.length)];
    return part !== undefined && startsWith(entry.path, path) ? [part] : [];
  });
  return places.reduceRight((edited, { start, end }) => splice(edited, start, end, keyText([name])), text);
}

/** Adds `path = literal` to its table. A missing table is added at the end of the text. */
function addKey(text: string, entries: readonly TomlEntry[], path: Path, literal: string): string {
  const table = path.slice(0, -1);
  const holder = inlineHolder(entries, table);
  if (holder !== undefined) {
    return addInline(text, entries, holder, `${keyText(path.slice(holder.path.length))} = ${literal}`);
  }
  const line = `${keyText(path.slice(-1))} = ${literal}`;
  if (table.length === 0) return addAtRoot(text, entries, line);
  const header = entries.find((entry) => entry.kind === "table" && isSame(entry.path, table));
  if (header !== undefined) return addBelow(text, lastOfSection(entries, header), line);
  // TOML allows no header for a table that dotted keys have begun.
  const dotted = entries.findLast((entry) => startsWith(entry.path, table) && baseOf(entry).length < table.length);
  if (dotted?.kind === "value") {
    return addBelow(text, dotted, `${keyText(path.slice(baseOf(dotted).length))} = ${literal}`);
  }
  return append(text, `[${keyText(table)}]`, line);
}

function addAtRoot(text: string, entries: readonly TomlEntry[], line: string): string {
  const header = entries.findIndex(({ kind }) => kind !== "value");
  const last = entries.slice(0, header < 0 ? undefined : header).findLast(({ parent }) => parent === undefined);
  if (last !== undefined) return addBelow(text, last, line);
  const first = entries[header];
  const eol = lineBreak(text);
  if (first === undefined) return `${text}${text === "" || text.endsWith("\n") ? "" : eol}${line}${eol}`;
  const at = sectionStart(text, scanToml(text), first);
  return splice(text, at, at, `${line}${eol}${eol}`);
}

function addBelow(text: string, entry: TomlEntry, line: string): string {
  const indent = indentAt(text, lineStart(text, entry.start));
  const end = lineEnd(text, entry.end);
  return splice(text, end, end, `${lineBreak(text)}${indent}${line}`);
}

function addInline(text: string, entries: readonly TomlEntry[], holder: TomlEntry, item: string): string {
  const last = entries.findLast(({ parent }) => parent === holder);
  if (last !== undefined) return splice(text, last.end, last.end, `, ${item}`);
  return splice(text, holder.valueStart, holder.end, `{ ${item} }`);
}

function append(text: string, ...lines: readonly string[]): string {
  const eol = lineBreak(text);
  const gap = text === "" ? "" : text.endsWith("\n") ? eol : `${eol}${eol}`;
  return `${text}${gap}${lines.join(eol)}${eol}`;
}

/** Returns the innermost inline table that contains `path`. */
function inlineHolder(entries: readonly TomlEntry[], path: Path): TomlEntry | undefined {
  return entries.findLast((entry) => entry.isInlineTable && startsWith(path, entry.path));
}

/** Returns the last entry below a header, or the header itself. */
function lastOfSection(entries: readonly TomlEntry[], header: TomlEntry): TomlEntry {
  const following = entries.slice(entries.indexOf(header) + 1);
  const next = following.findIndex(({ kind }) => kind !== "value");
  const own = next < 0 ? following : following.slice(0, next);
  return own.findLast(({ parent }) => parent === undefined) ?? header;
}

/** Returns what to remove with an entry: its section, its lines, or an item of an inline table with the comma. */
function rangeOf(text: string, scan: TomlScan, entry: TomlEntry): [start: number, end: number] {
  const { entries } = scan;
  if (entry.parent !== undefined) {
    const items = entries.filter(({ parent }) => parent === entry.parent);
    const at = items.indexOf(entry);
    const [before, after] = [items[at - 1], items[at + 1]];
    if (after !== undefined) return [entry.start, after.start];
    return before === undefined ? [entry.parent.valueStart + 1, entry.parent.end - 1] : [before.end, entry.end];
  }
  if (entry.kind === "value") return [lineStart(text, entry.start), nextLine(text, entry.end)];
  const next = entries.slice(entries.indexOf(entry) + 1).find(({ kind }) => kind !== "value");
  return [sectionStart(text, scan, entry), next === undefined ? text.length : sectionStart(text, scan, next)];
}

/** Returns where a header begins. Comments directly above belong to it, except at the beginning of the file. */
function sectionStart(text: string, { comments }: TomlScan, header: TomlEntry): number {
  const own = lineStart(text, header.start);
  let start = own;
  while (start > 0) {
    const above = lineStart(text, start - 1);
    if (!comments.has(above + indentAt(text, above).length)) return start;
    start = above;
  }
  return own;
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf("\n", at - 1) + 1;
}

/** Returns the offset of the next line break, or of the end of the text. */
function lineEnd(text: string, at: number): number {
  return at + (/\r?\n|$/.exec(text.slice(at))?.index ?? 0);
}

function nextLine(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end + 1;
}

function indentAt(text: string, at: number): string {
  return /^[ \t]*/.exec(text.slice(at))?.[0] ?? "";
}

function lineBreak(text: string): string {
  return text.includes("\r\n") ? "\r\n" : "\n";
}

function splice(text: string, start: number, end: number, replacement: string): string {
  return text.slice(0, start) + replacement + text.slice(end);
}

/** Returns the part of the path that comes from a header or an inline table. */
function baseOf({ path, parts }: TomlEntry): Path {
  return path.slice(0, path.length - parts.length);
}

function startsWith(path: Path, start: Path): boolean {
  return start.every((name, index) => path[index] === name);
}

function isSame(a: Path, b: Path): boolean {
  return a.length === b.length && startsWith(a, b);
}

function keyText(path: Path): string {
  return path.map((name) => (/^[\w-]+$/.test(name) ? name : quoted(name))).join(".");
}

function quoted(value: string): string {
  return stringify({ value }).trimEnd().slice("value = ".length);
}
