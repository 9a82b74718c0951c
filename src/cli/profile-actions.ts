// The actions of `lictor profile …`. Source: prefect cli/profile.py.
import { copyFileSync } from "node:fs";
import { pythonRepr } from "../python-text.ts";
import { addProfile, ensureProfile, removeProfile, renameProfile, setActive } from "../settings/edit-profiles.ts";
import { locateProfile, profileSettings, type SettingsInput } from "../settings/load.ts";
import { BUILT_IN_PROFILES, findProfiles, namedProfile, type ProfilesFile } from "../settings/profiles.ts";
import { fileError } from "../settings/sources.ts";
import { updateProfiles } from "../settings/update-profiles.ts";
import { profileRows } from "../settings/view.ts";
import { checkConnection } from "./check-connection.ts";
import type { OutputOption } from "./options.ts";
import { withProgram } from "./program-context.ts";
import { confirm, isInteractive, print, printJson } from "./terminal.ts";

export { settingsInput } from "./program-context.ts";

/** `profile ls`: prints the names of the profiles. */
export function listProfiles(input: SettingsInput, output: OutputOption["output"]): void {
  const active = locateProfile(input);
  const names = Object.keys(findProfiles(active.file)?.profiles ?? {});
  if (output === "json") {
    printJson(names.map((name) => ({ name, active: name === active.name })));
    return;
  }
  const rows = names.map((name) => `${name === active.name ? "*" : " "} ${name}`);
  print("Available Profiles:", ...rows.map((row) => `  ${row}`), "* active profile");
}

/** `profile create`: adds a profile, or a copy of `from`. Throws an Error if it exists. */
export async function createProfile(input: SettingsInput, name: string, from: string | undefined): Promise<void> {
  if (name.trim() === "") throw new Error("Write the name of the profile. It cannot be empty.");
  await updateProfiles(locateProfile(input).file, ({ text, profiles }) => {
    if (Object.hasOwn(profiles, name)) {
      throw new Error(`Profile ${pythonRepr(name)} already exists. \`lictor profile delete\` removes it.`);
    }
    return addProfile(text, name, from === undefined ? {} : requireProfile(profiles, from));
  });
  print(
    "Created profile with properties:",
    `    name - ${pythonRepr(name)}`,
    `    from name - ${from ?? "None"}`,
    "",
    `From now on, run \`lictor profile use ${name}\`; for one command, \`lictor -p ${name} config view\`.`,
  );
}

/** `profile use`: makes a profile active and checks its connection. It stays active even if the connection fails. */
export async function useProfile(input: SettingsInput, name: string): Promise<void> {
  await updateProfiles(locateProfile(input).file, (current) => {
    if (!Object.hasOwn(BUILT_IN_PROFILES, name)) requireProfile(current.profiles, name);
    return setActive(ensureProfile(current, name), name);
  });
  await withProgram({ profile: name, logFormat: "text" }, async (program) => print(await checkConnection(program)));
}

/** `profile inspect`: prints the settings of a profile. */
export function inspectProfile(
  input: SettingsInput,
  asked: string | undefined,
  { output, showSecrets }: OutputOption & { showSecrets: boolean },
): void {
  const active = locateProfile(input);
  const name = asked ?? active.name;
  if (asked === undefined && output !== "json") print(`No name provided, defaulting to ${pythonRepr(name)}`);
  const profile = namedProfile(active.file, name);
  if (profile === undefined) throw notFound(name);
  const rows = profileRows(profileSettings(profile), showSecrets);
  if (output === "json") printJson(Object.fromEntries(rows.map((row) => [row.name, row.value])));
  else if (rows.length === 0) print(`Profile ${pythonRepr(name)} is empty.`);
  else print(...rows.map((row) => `${row.name}='${row.value}'`));
}

/** `profile rename`: changes the name of a profile. Throws an Error if the new name exists. */
export async function renameProfileTo(input: SettingsInput, name: string, newName: string): Promise<void> {
  await updateProfiles(locateProfile(input).file, (current) => {
    requireProfile(current.profiles, name);
    if (Object.hasOwn(current.profiles, newName)) throw new Error(`Profile ${pythonRepr(newName)} already exists.`);
    return renameProfile(current, name, newName);
  });
  if (input.env.PREFECT_PROFILE === name) {
    print(`The environment variable PREFECT_PROFILE still says ${pythonRepr(name)}: set it to ${pythonRepr(newName)}.`);
  }
  print(`Renamed profile ${pythonRepr(name)} to ${pythonRepr(newName)}.`);
}

/** `profile delete`: removes a profile. Throws an Error for the active profile. */
export async function deleteProfile(input: SettingsInput, name: string): Promise<void> {
  const active = locateProfile(input);
  requireProfile(findProfiles(active.file)?.profiles ?? {}, name);
  if (active.name === name) {
    throw new Error(`Profile ${pythonRepr(name)} is the active profile. Switch to another one to delete it.`);
  }
  const question = `Are you sure you want to delete profile with name ${pythonRepr(name)}?`;
  if (isInteractive(input.env) && !(await confirm(question))) throw new Error("Deletion aborted.");
  await updateProfiles(active.file, ({ text }) => removeProfile(text, name));
  print(`Removed profile ${pythonRepr(name)}.`);
}

/** `profile populate-defaults`: adds the built-in profiles that the file lacks. */
export async function populateDefaults(input: SettingsInput): Promise<void> {
  const { file } = locateProfile(input);
  const written = findProfiles(file);
  const missing = Object.keys(BUILT_IN_PROFILES).filter((name) => !Object.hasOwn(written?.profiles ?? {}, name));
  if (missing.length === 0) {
    print("No changes needed. All profiles are up to date.");
    return;
  }
  print("Proposed Changes:", ...missing.map((name) => `  • Add ${pythonRepr(name)}`));
  if (isInteractive(input.env)) {
    if (written !== undefined && (await confirm(`Back up existing profiles to ${file}.bak?`))) backUp(file);
    if (!(await confirm(`Update profiles at ${file}?`))) {
      print("Operation cancelled.");
      return;
    }
  }
  await updateProfiles(file, (current) =>
    missing.reduce((text, name) => ensureProfile({ ...current, text }, name), current.text),
  );
  print(`Profiles updated in ${file}`, "Use with `lictor profile use NAME`.", "", "Available profiles:");
  print(...Object.keys(findProfiles(file)?.profiles ?? {}).map((name) => `  - ${name}`));
}

function backUp(file: string): void {
  try {
    copyFileSync(file, `${file}.bak`);
  } catch (error) {
    throw fileError("write", `${file}.bak`, error);
  }
  print(`Profiles backed up to ${file}.bak`);
}

/** Returns the profile with this name. Throws an Error if it does not exist. */
function requireProfile(profiles: ProfilesFile["profiles"], name: string): Readonly<Record<string, unknown>> {
  const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (profile === undefined) throw notFound(name);
  return profile;
}

function notFound(name: string): Error {
  return new Error(`Profile ${pythonRepr(name)} not found.`);
}
