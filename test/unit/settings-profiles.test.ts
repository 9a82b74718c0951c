import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SettingsError } from "../../src/settings/settings-error.ts";
import { settingsDirectory } from "./settings-directory.ts";

const TWO_PROFILES = `active = "a"
[profiles.a]
PREFECT_API_URL = "http://a/api"
[profiles.b]
PREFECT_API_URL = "http://b/api"
`;

describe("the active profile", () => {
  const rows: [
    name: string,
    env: Record<string, string>,
    argument: string | undefined,
    expected: object,
    url: string | null,
  ][] = [
    ["is the active one of the file", {}, undefined, { name: "a", chosenBy: "profiles file" }, "http://a/api"],
    [
      "is that of PREFECT_PROFILE",
      { PREFECT_PROFILE: "b" },
      undefined,
      { name: "b", chosenBy: "environment" },
      "http://b/api",
    ],
    [
      "is that of the command line before all",
      { PREFECT_PROFILE: "a" },
      "b",
      { name: "b", chosenBy: "command line" },
      "http://b/api",
    ],
    ["is not changed by an empty PREFECT_PROFILE", { PREFECT_PROFILE: "" }, undefined, { name: "a" }, "http://a/api"],
    [
      "may be a built-in one that the file lacks",
      {},
      "local",
      { name: "local", found: true },
      "http://127.0.0.1:4200/api",
    ],
    ["may be unknown in PREFECT_PROFILE", { PREFECT_PROFILE: "x" }, undefined, { name: "x", found: false }, null],
    ["is never one of Object's own names", { PREFECT_PROFILE: "constructor" }, undefined, { found: false }, null],
  ];
  test.each(rows)("%s", (_, env, argument, expected, url) => {
    using directory = settingsDirectory({ "home/profiles.toml": TWO_PROFILES });
    const settings = directory.load(env, argument);
    expect(settings.profile).toMatchObject({ file: directory.profilesFile, ...expected });
    expect(settings.values.PREFECT_API_URL).toBe(url);
  });

  test("is the built-in ephemeral one without a file", () => {
    using directory = settingsDirectory();
    const settings = directory.load();
    expect(settings.profile).toMatchObject({ name: "ephemeral", chosenBy: "default", found: true });
    expect(settings.values.PREFECT_SERVER_EPHEMERAL_ENABLED).toBe(true);
  });

  test("is the built-in ephemeral one when the file names none", () => {
    using directory = settingsDirectory({ "home/profiles.toml": "" });
    expect(directory.load().profile).toMatchObject({ name: "ephemeral", chosenBy: "default" });
  });

  test("that does not exist is a warning naming who chose it", () => {
    using directory = settingsDirectory({ "home/profiles.toml": 'active = "x"' });
    const going = `is not in ${directory.profilesFile}; going on with the default settings.`;
    expect(directory.load().warnings).toEqual([`Profile 'x', named by \`active\`, ${going}`]);
    expect(directory.load({ PREFECT_PROFILE: "y" }).warnings).toEqual([
      `Profile 'y', named by PREFECT_PROFILE, ${going}`,
    ]);
  });

  test("is not used in test mode", () => {
    using directory = settingsDirectory({ "home/profiles.toml": TWO_PROFILES });
    expect(directory.load({ PREFECT_TEST_MODE: "1" }).values.PREFECT_API_URL).toBeNull();
  });
});

describe("an unknown profile on the command line is a SettingsError", () => {
  test("that names the file and its profiles", () => {
    using directory = settingsDirectory({ "home/profiles.toml": TWO_PROFILES });
    expect(() => directory.load({}, "x")).toThrow(
      new SettingsError(`Unknown profile 'x'. ${directory.profilesFile} has the profiles 'a', 'b'.`),
    );
  });

  test("that names the built-in profiles when there is no file", () => {
    using directory = settingsDirectory();
    expect(() => directory.load({}, "x")).toThrow(/^Unknown profile 'x'\. .* does not exist; .* 'ephemeral', 'local'/);
  });
});

describe("the profiles file", () => {
  const other = { "other.toml": 'active = "q"\n[profiles.q]\n' };
  const rows: [name: string, files: Record<string, string>, env: Record<string, string>][] = [
    ["is that of PREFECT_PROFILES_PATH", {}, { PREFECT_PROFILES_PATH: "other.toml" }],
    [
      "is that of .env before prefect.toml",
      { ".env": "PREFECT_PROFILES_PATH=other.toml", "prefect.toml": "profiles_path='no'" },
      {},
    ],
    [
      "is that of prefect.toml before pyproject.toml",
      { "prefect.toml": "profiles_path='other.toml'", "pyproject.toml": "[tool.prefect]\nprofiles_path='no'" },
      {},
    ],
    [
      "is that of pyproject.toml before the home directory",
      { "pyproject.toml": "[tool.prefect]\nprofiles_path='other.toml'", "home/profiles.toml": "" },
      {},
    ],
    ["may begin with ~", {}, { PREFECT_PROFILES_PATH: "~/other.toml" }],
    ["may lie below $PREFECT_HOME", {}, { PREFECT_PROFILES_PATH: "$PREFECT_HOME/../other.toml" }],
    [
      "is in the home directory when the path is empty",
      { "home/profiles.toml": other["other.toml"] },
      { PREFECT_PROFILES_PATH: "" },
    ],
  ];
  test.each(rows)("%s", (_, files, env) => {
    using directory = settingsDirectory({ ...other, ...files });
    expect(directory.load(env).profile.name).toBe("q");
  });

  test("is in ~/.prefect without PREFECT_HOME", () => {
    using directory = settingsDirectory({ ".prefect/profiles.toml": other["other.toml"] });
    expect(directory.load({ PREFECT_HOME: "" }).profile.file).toBe(join(directory.path, ".prefect/profiles.toml"));
  });
});

describe("a profiles file that cannot be used is a SettingsError of one line with its name", () => {
  const binary = Uint8Array.from({ length: 256 }, (_, index) => index);
  const rows: [name: string, content: string | Uint8Array][] = [
    ["binary", binary],
    ["an image header", Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)],
    ["a NUL", "active = 'a\0'"],
    ["JSON", '{"active": "a"}'],
    ["YAML", "active: a\nprofiles:\n  a: {}\n"],
    ["an unclosed table", "[profiles.a"],
    ["an unclosed string", "active = 'a"],
    ["a key twice", "active = 'a'\nactive = 'b'"],
    ["a merge conflict", "<<<<<<< HEAD\nactive = 'a'\n"],
    ["a number for the active name", "active = 5"],
    ["no table of profiles", "profiles = 5"],
    ["an array of profiles", "[[profiles]]\nname = 'a'"],
    ["a date for the profiles", "profiles = 2020-01-01"],
    ["a profile that is no table", "[profiles]\na = 5"],
    ["a value that is a table", "active = 'a'\n[profiles.a.PREFECT_API_URL]\nx = 1"],
    ["a value that is a date", "active = 'a'\n[profiles.a]\nPREFECT_API_URL = 2020-01-01"],
    ["a number for a text", "active = 'a'\n[profiles.a]\nPREFECT_API_URL = nan"],
  ];
  test.each(rows)("%s", (_, content) => {
    using directory = settingsDirectory({ "home/profiles.toml": content });
    expect(() => directory.load()).toThrow(SettingsError);
    expect(() => directory.load()).toThrow(directory.profilesFile);
    expect(() => directory.load()).not.toThrow(/\n/);
  });

  test("a directory", () => {
    using directory = settingsDirectory({ "home/profiles.toml/x": "" });
    expect(() => directory.load()).toThrow(
      new SettingsError(`Cannot read ${directory.profilesFile}: it is a directory`),
    );
  });

  test("a link to nowhere", () => {
    using directory = settingsDirectory();
    symlinkSync(join(directory.path, "nowhere"), directory.profilesFile);
    expect(() => directory.load()).toThrow(
      new SettingsError(`Cannot read ${directory.profilesFile}: there is no such file`),
    );
  });

  test("a link to itself", () => {
    using directory = settingsDirectory();
    symlinkSync(directory.profilesFile, directory.profilesFile);
    expect(() => directory.load()).toThrow(
      new SettingsError(`Cannot read ${directory.profilesFile}: its links lead in a circle (ELOOP)`),
    );
  });

  // Nothing is forbidden to root.
  test.skipIf(process.getuid?.() === 0)("no permission", () => {
    using directory = settingsDirectory({ "home/profiles.toml": TWO_PROFILES });
    chmodSync(directory.profilesFile, 0);
    expect(() => directory.load()).toThrow(new SettingsError(`Cannot read ${directory.profilesFile}: no permission`));
  });

  test("any damage to a good file", () => {
    using directory = settingsDirectory({ "home/profiles.toml": TWO_PROFILES });
    const good = Buffer.from(TWO_PROFILES);
    for (let position = 0; position < good.length; position++) {
      for (const byte of [0x00, 0x0a, 0x22, 0x3d, 0x5b, 0x7b, 0xff]) {
        const damaged = Buffer.from(good);
        damaged[position] = byte;
        writeFileSync(directory.profilesFile, damaged);
        try {
          directory.load();
        } catch (error) {
          expect(error, `byte ${byte} at ${position}`).toBeInstanceOf(SettingsError);
        }
      }
    }
  });
});
