// Environment variables whose bytes are not UTF-8. Node.js shows their values damaged, leaves out those whose names are
// damaged, and can pass on neither of them.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** A variable as lictor was started with it. */
export interface RawVariable {
  /** With replacement characters for what is not UTF-8. */
  name: string;
  value: string;
  /** `name=value` as it is. */
  bytes: Buffer;
}

/** What passes them on: a shell that makes bytes of octal numbers, and a program that sets variables of any name. */
const [shell, setter] = ["/bin/sh", "/usr/bin/env"];

let own: Promise<readonly RawVariable[]> | undefined;

/** The variables of lictor's own environment that are not UTF-8, which never change. Known on Linux only. Never throws. */
export function ownRawVariables(): Promise<readonly RawVariable[]> {
  own ??= readFile("/proc/self/environ").then(findRawVariables, () => []);
  return own;
}

/** The variables that are not UTF-8 in an environment as the system keeps it: each ends in a zero byte. */
export function findRawVariables(environment: Buffer): RawVariable[] {
  const found: RawVariable[] = [];
  for (let start = 0; start < environment.length; ) {
    const zero = environment.indexOf(0, start);
    const end = zero === -1 ? environment.length : zero;
    const bytes = environment.subarray(start, end);
    start = end + 1;
    const text = bytes.toString("utf8");
    const equals = text.indexOf("=");
    if (equals > 0 && !Buffer.from(text).equals(bytes)) {
      found.push({ name: text.slice(0, equals), value: text.slice(equals + 1), bytes: Buffer.from(bytes) });
    }
  }
  return found;
}

/** Whether this system has what it takes to pass on variables that are not UTF-8. */
export function canPassOn(): boolean {
  return existsSync(shell) && existsSync(setter);
}

/**
 * The same start with the raw variables as they are: by a shell that becomes the program, so that the process id stays. A
 * variable that `env` has with a value of its own is left as it is there. Pure.
 */
export function withRawVariables(
  start: { argv: readonly string[]; env: Readonly<Record<string, string>> },
  variables: readonly RawVariable[],
): { argv: readonly string[]; env: Readonly<Record<string, string>> } {
  const env = { ...start.env };
  const passed = variables.filter(({ name, value }) => env[name] === undefined || isSame(env[name], value));
  if (passed.length === 0) return start;
  for (const { name } of passed) delete env[name];
  // A command substitution drops line ends, and so the x keeps them.
  const lines = passed.map(({ bytes }, index) => `v${index}=$(printf '%b' '${octal(bytes)}x')`);
  const words = passed.map((_, index) => `"\${v${index}%x}"`);
  const script = `${lines.join("\n")}\nexec ${setter} ${words.join(" ")} "$@"`;
  return { argv: [shell, "-c", script, "sh", ...start.argv], env };
}

/** Node.js may take several damaged bytes for one or for many. */
function isSame(one: string, other: string): boolean {
  const [short, shortOther] = [one, other].map((text) => text.replace(/\ufffd+/g, "\ufffd"));
  return short === shortOther;
}

function octal(bytes: Buffer): string {
  return Array.from(bytes, (byte) => {
    const character = String.fromCharCode(byte);
    return /[\w=./:@%+,-]/.test(character) ? character : `\\0${byte.toString(8).padStart(3, "0")}`;
  }).join("");
}
