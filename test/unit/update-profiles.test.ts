// Writing profiles.toml over whatever stands there.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parse } from "smol-toml";
import { expect, test } from "vitest";
import { changeSettings, ensureProfile } from "../../src/settings/edit-profiles.ts";
import { SettingsError } from "../../src/settings/settings-error.ts";
import { updateProfiles } from "../../src/settings/update-profiles.ts";
import { pick, randomFrom } from "../support/random.ts";
import { settingsDirectory } from "./settings-directory.ts";

const TEXT = `# mine
active = "prod"

[profiles.prod] # production
"PREFECT_API_URL" = """
http://h/api"""
PREFECT_CLIENT_RETRY_EXTRA_CODES = [ 429, # busy
  502 ]

[profiles]
dotted.PREFECT_API_KEY = 'k' # key
inline = { PREFECT_DEBUG_MODE = true, 'x' = { y = 1979-05-27 07:32:00 } }
`;

const PIECES = [
  ..."abc=.,#[]{}\"'\\\n\r\t 1",
  '"""',
  "'''",
  "[[",
  "profiles",
  "prod",
  "\u0000",
  "\ufffd",
  "{}",
  "= 1\n",
];

test("a damaged file is edited as what it is, or refused in one line and left alone", async () => {
  using directory = settingsDirectory();
  const file = directory.profilesFile;
  const outcomes = { edited: 0, refused: 0 };
  for (let seed = 1; seed <= 1000; seed++) {
    const random = randomFrom(seed);
    let text = TEXT;
    for (let count = 1 + Math.floor(random() * 3); count > 0; count--) {
      const at = Math.floor(random() * text.length);
      text = text.slice(0, at) + pick(random, ["", ...PIECES]) + text.slice(at + Math.floor(random() * 4));
    }
    writeFileSync(file, text);
    const name = pick(random, ["prod", "dotted", "inline", "new"]);
    const change = new Map([["PREFECT_DEBUG_MODE", "changed"]]);
    try {
      await updateProfiles(file, (current) => changeSettings(ensureProfile(current, name), name, change));
    } catch (error) {
      if (!(error instanceof SettingsError)) throw new Error(`seed ${seed}`, { cause: error });
      expect(error.message).not.toMatch(/[\r\n]/);
      expect(readFileSync(file, "utf8")).toBe(text);
      outcomes.refused++;
      continue;
    }
    const before = parse(text) as { profiles?: Record<string, object> };
    const after = parse(readFileSync(file, "utf8"));
    const profile = { ...before.profiles?.[name], PREFECT_DEBUG_MODE: "changed" };
    const active = "active" in before && before.active ? before.active : "ephemeral";
    expect({ seed, after }).toEqual({
      seed,
      after: { ...before, active, profiles: { ...before.profiles, [name]: profile } },
    });
    outcomes.edited++;
  }
  expect(outcomes.edited).toBeGreaterThan(100);
  expect(outcomes.refused).toBeGreaterThan(100);
  expect(readdirSync(directory.home)).toEqual(["profiles.toml"]);
});

test("what the edit throws leaves the file, and no lock", async () => {
  using directory = settingsDirectory({ "home/profiles.toml": TEXT });
  const refuse = () => {
    throw new Error("no");
  };
  await expect(updateProfiles(directory.profilesFile, refuse)).rejects.toThrow("no");
  expect(readFileSync(directory.profilesFile, "utf8")).toBe(TEXT);
  expect(readdirSync(directory.home)).toEqual(["profiles.toml"]);
});
