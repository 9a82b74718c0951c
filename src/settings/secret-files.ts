// Reads secrets from files, as containers and Kubernetes mount them: PREFECT_API_KEY_FILE and PREFECT_API_AUTH_STRING_FILE.
import { statSync } from "node:fs";
import { DEFINITIONS } from "./definitions.ts";
import type { Definition } from "./parse.ts";
import { expandUser } from "./paths.ts";
import { SettingsError } from "./settings-error.ts";
import { type Given, readText, type Source } from "./sources.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** A secret in a file. The file is read only if no source of higher precedence gives the secret. */
class UnreadSecret {
  constructor(readonly file: string) {}
}

/** Returns the source with the secrets whose files it names. A secret that the source gives itself comes first. */
export function withSecretFiles(source: Source, env: Environment): Source {
  const result = new Map(source);
  for (const [name, { fileOf }] of Object.entries<Definition>(DEFINITIONS)) {
    const given = fileOf === undefined || source.has(fileOf) ? undefined : source.get(name);
    if (fileOf === undefined || typeof given?.value !== "string" || given.value === "") continue;
    const file = expandUser(given.value, env);
    const description = `from file ${file} (${name} ${given.origin.description})`;
    const origin = { kind: "secret file", file, key: given.origin.key, raw: "", description } as const;
    result.set(fileOf, { value: new UnreadSecret(file), origin });
  }
  return result;
}

/** Reads a secret from its file, without the line break at the end. Other values stay as they are. Throws SettingsError. */
export function readSecret(name: string, given: Given): Given {
  if (!(given.value instanceof UnreadSecret)) return given;
  const { origin } = given;
  const value = readText(given.value.file).replace(/\r?\n$/, "");
  if (value.trim() === "")
    throw new SettingsError(`${name}, ${origin.description}: the file is empty`, { key: name, origin });
  return { value, origin: { ...origin, raw: value } };
}

/** Returns a warning for each secret file that every user of the machine may read. */
export function openFileWarnings(given: ReadonlyMap<string, Given>): string[] {
  return [...given].flatMap(([name, { origin }]) => {
    if (origin.kind !== "secret file" || !origin.file) return [];
    const isOpen = ((statSync(origin.file, { throwIfNoEntry: false })?.mode ?? 0) & 0o004) !== 0;
    return isOpen ? [`${name}: every user of this machine may read ${origin.file}; chmod 600 keeps it to you.`] : [];
  });
}
