// Changes of profiles.toml: text in, text out. What is not named stays, comments and order included.
import { pythonText } from "../python-text.ts";
import { findSetting } from "./catalogue.ts";
import { addTable, removeKey, renameKey, setKey } from "./edit-toml.ts";
import { BUILT_IN_PROFILES, DEFAULT_PROFILE, type ProfilesFile } from "./profiles.ts";

/** A profiles file as it was read; an empty text where there is none. */
export interface ProfilesText extends ProfilesFile {
  readonly text: string;
}

/** Makes a profile the active one. */
export function setActive(text: string, name: string): string {
  return setKey(text, ["active"], name);
}

/** Adds a profile that is not there yet. */
export function addProfile(text: string, name: string, settings: Readonly<Record<string, unknown>> = {}): string {
  const added = addTable(text, ["profiles", name]);
  return Object.entries(settings).reduce(
    (edited, [key, value]) => setKey(edited, ["profiles", name, key], pythonText(value)),
    added,
  );
}

/**
 * Sees to it that the file has this profile, as a built-in one if it is one, and that it names an active one: without
 * that Prefect would use nothing of the file.
 */
export function ensureProfile({ text, active, profiles }: ProfilesText, name: string): string {
  const edited = active ? text : setActive(text, DEFAULT_PROFILE);
  return Object.hasOwn(profiles, name) ? edited : addProfile(edited, name, BUILT_IN_PROFILES[name]);
}

/** Sets, or for null unsets, settings of a profile by canonical name; older names of them go. */
export function changeSettings(text: string, profile: string, changes: ReadonlyMap<string, string | null>): string {
  let edited = text;
  for (const [name, value] of changes) {
    const alias = findSetting(name)?.definition.alias;
    if (alias !== undefined) edited = removeKey(edited, ["profiles", profile, alias]);
    const path = ["profiles", profile, name];
    edited = value === null ? removeKey(edited, path) : setKey(edited, path, value);
  }
  // A profile of dotted keys is gone with the last of them.
  return addTable(edited, ["profiles", profile]);
}

/** Gives settings that stand under an older name their canonical one. */
export function renameAliases({ text, profiles }: ProfilesText, profile: string): string {
  const keys = Object.keys(profiles[profile] ?? {});
  return keys.reduce((edited, key) => {
    const name = findSetting(key)?.name ?? key;
    if (name === key) return edited;
    const path = ["profiles", profile, key];
    return keys.includes(name) ? removeKey(edited, path) : renameKey(edited, path, name);
  }, text);
}

/** Calls a profile by another name, also where it is the active one. */
export function renameProfile({ text, active }: ProfilesText, name: string, newName: string): string {
  const renamed = renameKey(text, ["profiles", name], newName);
  return active === name ? setActive(renamed, newName) : renamed;
}

/** Takes a profile away. */
export function removeProfile(text: string, name: string): string {
  return removeKey(text, ["profiles", name]);
}
