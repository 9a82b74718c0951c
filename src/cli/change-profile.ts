// Writing settings into the profile in use.
import { changeSettings, ensureProfile } from "../settings/edit-profiles.ts";
import type { ActiveProfile } from "../settings/profiles.ts";
import { updateProfiles } from "../settings/update-profiles.ts";

/** Sets, or for null unsets, settings by canonical name. A built-in profile is written into the file first. */
export async function changeProfile(
  { name, file, found }: Pick<ActiveProfile, "name" | "file" | "found">,
  changes: ReadonlyMap<string, string | null>,
): Promise<void> {
  if (!found) throw new Error(`Profile '${name}' not found in ${file}. \`lictor profile create\` makes it.`);
  await updateProfiles(file, (current) => changeSettings(ensureProfile(current, name), name, changes));
}

/** One line for each of these names that a variable sets too, which comes before the profile. */
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
