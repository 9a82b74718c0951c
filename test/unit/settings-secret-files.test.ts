import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SettingsError } from "../../src/settings/settings-error.ts";
import { settingsDirectory } from "./settings-directory.ts";

const PROFILE_KEY = "active = 'p'\n[profiles.p]\nPREFECT_API_KEY = 'from-profile'\n";

describe("PREFECT_API_KEY_FILE", () => {
  test("gives the key, without the line break at its end, with an origin of its own", () => {
    using directory = settingsDirectory({ "secrets/key": "pnu_in_file\n" });
    const file = join(directory.path, "secrets/key");
    const settings = directory.load({ PREFECT_API_KEY_FILE: file });
    expect(settings.values.PREFECT_API_KEY).toBe("pnu_in_file");
    expect(settings.origins.get("PREFECT_API_KEY")).toEqual({
      kind: "secret file",
      file,
      key: "PREFECT_API_KEY_FILE",
      raw: "pnu_in_file",
      description: `from file ${file} (PREFECT_API_KEY_FILE from the environment)`,
    });
    expect(settings.exported).toMatchObject({ PREFECT_API_KEY: "pnu_in_file" });
    expect(settings.exported).not.toHaveProperty("PREFECT_API_KEY_FILE");
  });

  test.each([
    ["loses to the key of the same source", { PREFECT_API_KEY: "plain", PREFECT_API_KEY_FILE: "~/key" }, "", "plain"],
    ["beats the key of a lower source", { PREFECT_API_KEY_FILE: "~/key" }, PROFILE_KEY, "in-file"],
    [
      "loses to the key of a higher source",
      { PREFECT_API_KEY: "plain" },
      "active='p'\n[profiles.p]\nPREFECT_API_KEY_FILE='~/key'",
      "plain",
    ],
    ["may stand in a profile", {}, "active='p'\n[profiles.p]\nPREFECT_API_KEY_FILE='~/key'", "in-file"],
    ["counts as not given when empty", { PREFECT_API_KEY_FILE: "" }, PROFILE_KEY, "from-profile"],
  ])("%s", (_, env, profiles, expected) => {
    using directory = settingsDirectory({ key: "in-file", ...(profiles ? { "home/profiles.toml": profiles } : {}) });
    expect(directory.load(env).values.PREFECT_API_KEY).toBe(expected);
  });

  test("is not read when the key itself is given", () => {
    using directory = settingsDirectory();
    expect(
      directory.load({ PREFECT_API_KEY: "plain", PREFECT_API_KEY_FILE: "/no/such/file" }).values.PREFECT_API_KEY,
    ).toBe("plain");
  });

  test.each([
    ["missing", "/no/such/file", /^Cannot read \/no\/such\/file: there is no such file/],
    ["empty", "~/empty", /^PREFECT_API_KEY, from file .*: the file is empty$/],
    ["a directory", "~/home", /it is a directory/],
  ])("that is %s is one clear error", (_, file, message) => {
    using directory = settingsDirectory({ empty: "\n" });
    const load = (): unknown => directory.load({ PREFECT_API_KEY_FILE: file });
    expect(load).toThrow(SettingsError);
    expect(load).toThrow(message);
  });

  test("warns once when every user may read it", () => {
    using directory = settingsDirectory();
    const file = join(directory.path, "key");
    writeFileSync(file, "k");
    chmodSync(file, 0o644);
    const open = directory.load({ PREFECT_API_KEY_FILE: file }).warnings.filter((line) => line.includes(file));
    expect(open).toHaveLength(1);
    chmodSync(file, 0o600);
    expect(directory.load({ PREFECT_API_KEY_FILE: file }).warnings.filter((line) => line.includes(file))).toEqual([]);
  });
});

test("PREFECT_API_AUTH_STRING_FILE gives the auth string", () => {
  using directory = settingsDirectory({ auth: "me:pass word\r\n" });
  const settings = directory.load({ PREFECT_API_AUTH_STRING_FILE: "~/auth" });
  expect(settings.values.PREFECT_API_AUTH_STRING).toBe("me:pass word");
});
