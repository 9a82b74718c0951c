// Changes the text of profiles.toml. Everything else in the text stays, comments and order included.
import { pythonText } from "../python-text.ts";
import { findSetting } from "./catalogue.ts";
import { addTable, removeKey, renameKey, setKey } from "./edit-toml.ts";
import { BUILT_IN_PROFILES, DEFAULT_PROFILE, type ProfilesFile } from "./profiles.ts";

/** A profiles file as it was read. The text is empty when there is no file. */
export interface ProfilesText extends ProfilesFile {
  readonly text: string;
}

/** Makes a profile the active one. Returns the new text, as all functions here do. */
export function setActive(text: string, name: string): string {
  return setKey(text, ["active"], name);
}

/** Adds a profile that the file does not have yet. */
export function addProfile(text: string, name: string, settings: Readonly<Record<string, unknown>> = {}): string {
  const added = addTable(text, ["profiles", name]);
  return Object.entries(settings).reduce(
    (edited, [key, value]) => setKey(edited, ["profiles", name, key], pythonText(value)),
    added,
  );
}

/**
 * Adds the profile if the file does not have it, with the settings of the built-in profile of that name. Also names an
 * active profile if there is none, because Prefect would otherwise ignore the file.
 */
export function ensureProfile({ text, active, profiles }: ProfilesText, name: string): string {
  const edited = active ? text : setActive(text, DEFAULT_PROFILE);
  return Object.hasOwn(profiles, name) ? edited : addProfile(edited, name, BUILT_IN_PROFILES[name]);
}

/** Sets settings of a profile by canonical name, and unsets those whose value is null. Older names are removed. */
export function changeSettings(text: string, profile: string, changes: ReadonlyMap<string, string | null>): string {
  let edited = text;
  for (const [name, value] of changes) {
    const alias = findSetting(name)?.definition.alias;
    if (alias !== undefined) edited = removeKey(edited, ["profiles", profile, alias]);
    const path = ["profiles", profile, name];
    edited = value === null ? removeKey(edited, path) : setKey(edited, path, value);
  }
  // A profile that is written with dotted keys disappears with its last key.
  return addTable(edited, ["profiles", profile]);
}

/** Replaces older names of settings by the canonical ones. */
export function renameAliases({ text, profiles }: ProfilesText, profile: string): string {
  const keys = Object.keys(profiles[profile] ?? {});
  return keys.reduce((edited, key) => {
    const name = findSetting(key)?.name ?? key;
    if (name === key) return edited;
    const path = ["profiles", profile, key];
    return keys.includes(name) ? removeKey(edited, path) : renameKey(edited, path, name);
  }, text);
}

/** Renames a profile, also where `active` names it. */
export function renameProfile({ text, active }: ProfilesText, name: string, newName: string): string {
  const renamed = renameKey(text, ["profiles", name], newName);
  return active === name ? setActive(renamed, newName) : renamed;
}

/** Removes a profile. */
export function removeProfile(text: string, name: string): string {
  return removeKey(text, ["profiles", name]);
}
