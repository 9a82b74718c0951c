// Writes settings into the active profile.
import { changeSettings, ensureProfile } from "../settings/edit-profiles.ts";
import type { ActiveProfile } from "../settings/profiles.ts";
import { updateProfiles } from "../settings/update-profiles.ts";

/**
 * Sets settings by canonical name, and unsets those whose value is null. Adds a built-in profile to the file first.
 * Throws an Error if the profile does not exist, and SettingsError if the file cannot be changed.
 */
export async function changeProfile(
  { name, file, found }: Pick<ActiveProfile, "name" | "file" | "found">,
  changes: ReadonlyMap<string, string | null>,
): Promise<void> {
  if (!found) throw new Error(`Profile '${name}' not found in ${file}. \`lictor profile create\` makes it.`);
  await updateProfiles(file, (current) => changeSettings(ensureProfile(current, name), name, changes));
}

/**
 * Returns a message for each name that an environment variable also sets, because the variable overrides the profile.
 */
export function overridingVariables(
  names: Iterable<string>,
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  return [...names]
    .filter((name) => env[name] !== undefined)
    .map(
      (name) => `${name} is also set by an environment variable, which comes first. Run \`unset ${name}\` to clear it.`,
    );
}
