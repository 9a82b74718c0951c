// The actions of `lictor config …`. Source: prefect cli/config.py.
import { pythonRepr } from "../python-text.ts";
import { findSetting, type KnownSetting, redact } from "../settings/catalogue.ts";
import { renameAliases } from "../settings/edit-profiles.ts";
import { loadSettings, locateProfile, profileProblems, profileSettings, type SettingsInput } from "../settings/load.ts";
import { expectation, parseValue } from "../settings/parse.ts";
import type { Settings } from "../settings/settings.ts";
import { updateProfiles } from "../settings/update-profiles.ts";
import { settingRows } from "../settings/view.ts";
import { changeProfile, overridingVariables } from "./change-profile.ts";
import type { OutputOption } from "./options.ts";
import { confirm, isInteractive, print, printJson } from "./terminal.ts";

export { settingsInput, withProgram } from "./program-context.ts";

/** The options of `config view`. An option that hides overrides one that shows. */
export interface ViewOptions extends OutputOption {
  showDefaults: boolean;
  hideDefaults?: boolean;
  showSources: boolean;
  hideSources?: boolean;
  showSecrets: boolean;
  hideSecrets?: boolean;
}

/** A setting and the name that the user gave. */
interface NamedSetting extends KnownSetting {
  given: string;
}

/** A profile cannot set these, because they decide from which file profiles are read. */
const UNCHANGEABLE: readonly string[] = ["PREFECT_HOME", "PREFECT_PROFILES_PATH"];

/** `config view`: prints the settings. */
export function viewSettings(settings: Settings, options: ViewOptions): void {
  const defaults = options.showDefaults && !options.hideDefaults;
  const secrets = options.showSecrets && !options.hideSecrets;
  const sources = options.showSources && !options.hideSources;
  const rows = settingRows(settings, { defaults, secrets });
  const profile = settings.profile.name;
  const uiUrl = settings.values.PREFECT_UI_URL;
  const shownUiUrl = uiUrl && !secrets ? redact("PREFECT_UI_URL", uiUrl) : uiUrl;
  if (options.output === "json") {
    const shown = sources ? rows : rows.map(({ name, value }) => ({ name, value }));
    printJson({ profile, settings: shown, ...(shownUiUrl && { ui_url: shownUiUrl }) });
    return;
  }
  if (shownUiUrl) print("🚀 you are connected to:", shownUiUrl);
  print(
    `PREFECT_PROFILE=${pythonRepr(profile)}`,
    ...rows.map(({ name, value, source }) => `${name}='${value}'${sources ? ` (from ${source})` : ""}`),
  );
}

/** `config set`: writes settings into the profile. Throws an Error and writes nothing if one assignment is wrong. */
export async function setSettings(assignments: readonly string[], input: SettingsInput): Promise<void> {
  const parsed = assignments.map(parseAssignment);
  const profile = locateProfile(input);
  await changeProfile(profile, new Map(parsed.map(({ name, value }) => [name, value])));
  print(
    ...parsed.map(({ given, name, value }) => `Set ${pythonRepr(given)} to ${pythonRepr(redact(name, value))}.`),
    ...overridingVariables(new Set(parsed.map(({ given }) => given)), input.env),
    `Updated profile ${pythonRepr(profile.name)}.`,
  );
}

/** `config unset`: removes settings from the profile. Throws an Error if a setting is unknown or not set. */
export async function unsetSettings(names: readonly string[], input: SettingsInput, yes: boolean): Promise<void> {
  const settings = [...new Set(names)].map(findNamed);
  const profile = locateProfile(input);
  const set = profileSettings(profile);
  const missing = settings.find(({ name }) => !set.has(name));
  if (missing) throw new Error(`${pythonRepr(missing.given)} is not set in profile ${pythonRepr(profile.name)}.`);
  const list = settings.map(({ given }) => pythonRepr(given)).join(", ");
  if (!yes && isInteractive(input.env) && !(await confirm(`Are you sure you want to unset ${list}?`))) {
    throw new Error("Unset aborted.");
  }
  await changeProfile(profile, new Map(settings.map(({ name }) => [name, null])));
  print(
    ...settings.map(({ given }) => `Unset ${pythonRepr(given)}.`),
    ...overridingVariables(new Set(settings.map(({ given }) => given)), input.env),
    `Updated profile ${pythonRepr(profile.name)}.`,
  );
}

/**
 * `config validate`: checks the profile and then all other sources, and renames aliases. Throws an Error with all
 * problems.
 */
export async function validateSettings(input: SettingsInput): Promise<void> {
  const profile = locateProfile(input);
  const problems = profileProblems(profile);
  if (problems.length > 0) throw new Error(problems.join("\n"));
  if (!profile.builtIn) await updateProfiles(profile.file, (current) => renameAliases(current, profile.name));
  print(...loadSettings(input).warnings, "Configuration valid!");
}

function parseAssignment(text: string): NamedSetting & { value: string } {
  const [, given, value] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  if (given === undefined || value === undefined) {
    throw new Error(`Failed to parse argument ${pythonRepr(text)}. Use the format 'VAR=VAL'.`);
  }
  const setting = findNamed(given);
  if (UNCHANGEABLE.includes(setting.name)) {
    throw new Error(
      `Setting ${pythonRepr(given)} cannot be changed with this command. Use an environment variable instead.`,
    );
  }
  if (parseValue(setting.definition, value) === undefined) {
    const found = pythonRepr(redact(setting.name, value));
    throw new Error(
      `Validation error for setting ${given}: found ${found}, expected ${expectation(setting.definition)}`,
    );
  }
  return { ...setting, value };
}

function findNamed(given: string): NamedSetting {
  const setting = findSetting(given);
  if (setting === undefined) throw new Error(`Unknown setting name ${pythonRepr(given)}.`);
  return { ...setting, given };
}
