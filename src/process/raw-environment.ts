// Environment variables whose bytes are not UTF-8. Node.js shows damaged values, leaves out variables with damaged names,
// and cannot pass on either of them to a child.
import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { findProgram } from "./find-program.ts";

/** A variable of lictor's own environment whose bytes are not UTF-8. */
export interface RawVariable {
  /** Name and value have replacement characters for bytes that are not UTF-8. */
  name: string;
  value: string;
  /** The original bytes of `name=value`. */
  bytes: Buffer;
}

/** A shell turns octal numbers into bytes, and `env` sets variables of any name. Together they pass the variables on. */
const [shell, setter] = ["/bin/sh", "/usr/bin/env"];

/** Octal numbers make bytes up to five times longer, so a variable may need several arguments. Linux takes 131,071 bytes each. */
const pieceCharacters = 100_000;

let own: Promise<readonly RawVariable[] | null> | undefined;

/** Returns the variables of lictor's own environment that are not UTF-8. Returns null if the system cannot tell the bytes. */
function readOwnRawVariables(): Promise<readonly RawVariable[] | null> {
  own ??= readFile("/proc/self/environ").then(findRawVariables, () => null);
  return own;
}

async function ownRawVariables(): Promise<readonly RawVariable[]> {
  return (await readOwnRawVariables()) ?? [];
}

/** Returns the variables that are not UTF-8. `environment` has the form of /proc: each variable ends in a zero byte. */
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

/** A program to start. */
interface Start {
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
}

/**
 * Returns what starts the same program with the raw variables of lictor's own environment. Without such variables, or if
 * this system cannot pass them on, it returns `start`. A missing program too is started as given, because the shell would
 * hide the system's error.
 */
export async function passOnRawVariables(start: Start & { cwd: string }): Promise<Start> {
  const variables = await ownRawVariables();
  if (variables.length === 0 || !canPassOn()) return start;
  return (await findProgram(start.argv[0] ?? "", start)) ? withRawVariables(start, variables) : start;
}

/** Returns whether a program with this environment gets raw variables. */
export async function hasRawVariables(env: Start["env"]): Promise<boolean> {
  return selectPassed(env, await ownRawVariables()).length > 0 && canPassOn();
}

/** Returns the raw variables that are passed on, with their values in octal numbers. They show how large the variables get. */
export async function encodeRawVariables(env: Start["env"]): Promise<Record<string, string>> {
  const variables = canPassOn() ? selectPassed(env, await ownRawVariables()) : [];
  return Object.fromEntries(
    variables.map(({ name, bytes }) => [name, octalPieces(bytes).join("").slice(`${name}=`.length)]),
  );
}

/** Returns a warning that names the variables that this system cannot pass on; null if there are none. */
export async function describeLostVariables(env: Start["env"]): Promise<string | null> {
  return describeLost(env, { variables: await readOwnRawVariables(), canPassOn: canPassOn() });
}

/**
 * Returns a warning that names the variables of `env` that cannot be passed on, never their values; null if there are none.
 * `variables` is null if the bytes are not known. Pure.
 */
export function describeLost(
  env: Start["env"],
  system: { variables: readonly RawVariable[] | null; canPassOn: boolean },
): string | null {
  const { variables } = system;
  if (variables !== null && system.canPassOn) return null;
  const isDamaged = (text = ""): boolean => text.includes("\ufffd");
  const damaged = Object.entries(env).filter(([name, value]) => isDamaged(name) || isDamaged(value));
  const names = variables?.map(({ name }) => name) ?? damaged.map(([name]) => name);
  if (names.length === 0) return null;
  const needed = variables === null ? "Linux with /proc" : `${shell} and ${setter}`;
  return (
    `Flow runs get these environment variables damaged or not at all, because their bytes are not UTF-8: ${names.join(", ")}. ` +
    `lictor needs ${needed} to pass them on. Otherwise set them in UTF-8.`
  );
}

/** Returns whether this system has the programs that pass on the variables. */
function canPassOn(): boolean {
  return [shell, setter].every((program) => {
    try {
      accessSync(program, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Returns the variables that `env` does not set to another value. */
function selectPassed(env: Start["env"], variables: readonly RawVariable[]): readonly RawVariable[] {
  return variables.filter(({ name, value }) => env[name] === undefined || isSame(env[name], value));
}

/**
 * Returns a command and environment that start the same program with the raw variables. A shell sets them and then becomes
 * the program, so the process id stays. A variable that `env` sets to another value is not replaced. Pure.
 */
export function withRawVariables(start: Start, variables: readonly RawVariable[]): Start {
  const env = { ...start.env };
  const passed = selectPassed(env, variables);
  if (passed.length === 0) return start;
  for (const { name } of passed) delete env[name];
  const pieces = passed.map(({ bytes }) => octalPieces(bytes));
  const lines = pieces.map(({ length }, index) => {
    const given = pieces.slice(0, index).reduce((sum, before) => sum + before.length, 0);
    const text = Array.from({ length }, (_, piece) => `\${${given + piece + 1}}`).join("");
    // A command substitution removes line ends at the end. The x prevents that.
    return `v${index}=$(printf '%b' "${text}x")`;
  });
  const words = passed.map((_, index) => `"\${v${index}%x}"`);
  const script = `${lines.join("\n")}\nshift ${pieces.flat().length}\nexec ${setter} ${words.join(" ")} "$@"`;
  return { argv: [shell, "-c", script, "sh", ...pieces.flat(), ...start.argv], env };
}

/** Compares with runs of replacement characters as one, because Node.js may show several damaged bytes as one. */
function isSame(one: string, other: string): boolean {
  const [short, shortOther] = [one, other].map((text) => text.replace(/\ufffd+/g, "\ufffd"));
  return short === shortOther;
}

/** Returns the bytes as text for `printf '%b'`, cut between bytes. */
function octalPieces(bytes: Buffer): string[] {
  const pieces = [""];
  for (const byte of bytes) {
    if ((pieces.at(-1) ?? "").length >= pieceCharacters) pieces.push("");
    pieces[pieces.length - 1] += isPlain(byte) ? String.fromCharCode(byte) : `\\0${byte.toString(8).padStart(3, "0")}`;
  }
  return pieces;
}

/** Returns whether `printf '%b'` prints the byte as it is: ASCII except the backslash. */
function isPlain(byte: number): boolean {
  return byte < 0x80 && byte !== 0x5c;
}
