// Finds the positions of keys, tables and values in a TOML text, so that one can be changed without touching the rest.
// The text must be valid: smol-toml has to have parsed it before, because errors are not noticed here.
import { parse } from "smol-toml";

/** The header of a table, or a `key = value`, which may be in an inline table. Offsets count from the start of the text. */
export interface TomlEntry {
  readonly kind: "value" | "table" | "array of tables";
  /** from the root of the document */
  readonly path: readonly string[];
  /** positions of the parts of the key that are written here, which are the last parts of `path` */
  readonly parts: readonly { readonly start: number; readonly end: number }[];
  readonly start: number;
  /** of a value; of a header the same as `start` */
  readonly valueStart: number;
  readonly end: number;
  /** the entry whose inline table holds this one */
  readonly parent?: TomlEntry;
  /** whether the value is an inline table */
  readonly isInlineTable: boolean;
}

export interface TomlScan {
  /** in the order of the text */
  readonly entries: readonly TomlEntry[];
  /** offset of each comment */
  readonly comments: ReadonlySet<number>;
}

interface Token {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const MULTILINE = /"""(?:\\[\s\S]|[^\\])*?""""{0,2}|'''[\s\S]*?''''{0,2}/;
const TOKEN = new RegExp(
  `${MULTILINE.source}|${/"(?:\\.|[^"\\])*"|'[^']*'|#[^\n]*|\n|[[\]{},=.]|[^\s"'#[\]{},=.]+/.source}`,
  "g",
);

/** Finds every key, header and comment. */
export function scanToml(text: string): TomlScan {
  return new Scanner(text).scan();
}

class Scanner {
  readonly #entries: TomlEntry[] = [];
  readonly #tokens: readonly Token[];
  readonly #endOfText: Token;
  #at = 0;

  constructor(text: string) {
    this.#tokens = [...text.matchAll(TOKEN)].map((match) => ({
      text: match[0],
      start: match.index,
      end: match.index + match[0].length,
    }));
    this.#endOfText = { text: "", start: text.length, end: text.length };
  }

  scan(): TomlScan {
    let table: readonly string[] = [];
    while (this.#next !== this.#endOfText) {
      if (this.#next.text === "[") table = this.#header();
      else if (isBetweenEntries(this.#next)) this.#at++;
      else this.#assignment(table);
    }
    const comments = this.#tokens.filter(({ text }) => text.startsWith("#"));
    return { entries: this.#entries, comments: new Set(comments.map(({ start }) => start)) };
  }

  get #next(): Token {
    return this.#tokens[this.#at] ?? this.#endOfText;
  }

  #take(): Token {
    const token = this.#next;
    this.#at++;
    return token;
  }

  #header(): readonly string[] {
    const { start } = this.#take();
    const isArray = this.#next.text === "[";
    if (isArray) this.#at++;
    const { names, parts } = this.#key("]");
    const end = isArray ? this.#take().end : (parts.at(-1)?.end ?? start) + 1;
    const kind = isArray ? "array of tables" : "table";
    this.#entries.push({ kind, path: names, parts, start, valueStart: start, end, isInlineTable: false });
    return names;
  }

  /** Consumes the parts of a key and the `stop` after them. */
  #key(stop: "=" | "]"): { names: string[]; parts: Token[] } {
    const parts: Token[] = [];
    for (let token = this.#take(); token.text !== stop; token = this.#take()) if (token.text !== ".") parts.push(token);
    return { names: parts.map(({ text }) => nameOf(text)), parts };
  }

  #assignment(base: readonly string[], parent?: TomlEntry): void {
    const { names, parts } = this.#key("=");
    const { start: valueStart, text } = this.#next;
    const entry: Mutable<TomlEntry> = {
      kind: "value",
      path: [...base, ...names],
      parts,
      start: parts[0]?.start ?? valueStart,
      valueStart,
      end: valueStart,
      ...(parent && { parent }),
      isInlineTable: text === "{",
    };
    this.#entries.push(entry);
    entry.end = this.#value(entry);
  }

  /** Consumes a value. Returns the offset of its end. */
  #value(entry: TomlEntry): number {
    if (this.#next.text === "{") return this.#inlineTable(entry);
    if (this.#next.text === "[") return this.#array();
    let end = entry.valueStart;
    // A date may contain a space, and a number a point.
    while (!isBetweenEntries(this.#next) && !"]}".includes(this.#next.text)) end = this.#take().end;
    return end;
  }

  #inlineTable(entry: TomlEntry): number {
    this.#at++;
    while (this.#next.text !== "}") {
      if (isBetweenEntries(this.#next)) this.#at++;
      else this.#assignment(entry.path, entry);
    }
    return this.#take().end;
  }

  #array(): number {
    for (let depth = 0; ; ) {
      const { text, end } = this.#take();
      if (text === "[" || text === "{") depth++;
      if (text === "]" || text === "}") depth--;
      if (depth === 0) return end;
    }
  }
}

function isBetweenEntries({ text }: Token): boolean {
  return text === "\n" || text === "," || text.startsWith("#");
}

function nameOf(key: string): string {
  if (key.startsWith("'")) return key.slice(1, -1);
  return key.startsWith('"') ? (Object.keys(parse(`${key} = 0`))[0] ?? "") : key;
}
