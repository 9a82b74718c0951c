// Changing profiles.toml: tables of edits by hand, and properties over texts that smol-toml writes.
import { parse, stringify, type TomlTable } from "smol-toml";
import { describe, expect, test } from "vitest";
import { addTable, removeKey, renameKey, setKey } from "../../src/settings/edit-toml.ts";
import { pick, type Random, randomFrom } from "../support/random.ts";

const KEY = ["profiles", "prod", "PREFECT_API_URL"];

describe("setKey", () => {
  const rows: [form: string, before: string, after: string][] = [
    [
      "replaces a value where it stands",
      '[profiles.prod]\nPREFECT_API_URL = "a" # why\nB = 1\n',
      '[profiles.prod]\nPREFECT_API_URL = "new" # why\nB = 1\n',
    ],
    [
      "adds below the last key of the table, before the comments of the next one",
      "[profiles.prod]\nB = 1 # b\n# end\n\n# dev\n[profiles.dev]\nC = 2\n",
      '[profiles.prod]\nB = 1 # b\nPREFECT_API_URL = "new"\n# end\n\n# dev\n[profiles.dev]\nC = 2\n',
    ],
    ["adds to an empty table without a last line break", "[profiles.prod]", '[profiles.prod]\nPREFECT_API_URL = "new"'],
    [
      "makes the table at the end",
      "# mine\nactive = 'x'",
      "# mine\nactive = 'x'\n\n[profiles.prod]\nPREFECT_API_URL = \"new\"\n",
    ],
    ["makes the text", "", '[profiles.prod]\nPREFECT_API_URL = "new"\n'],
    [
      "replaces a multi-line string that looks like TOML",
      '[profiles.prod]\nPREFECT_API_URL = """\n[profiles.x]\n# no comment\\""""\n[profiles.dev]\n',
      '[profiles.prod]\nPREFECT_API_URL = "new"\n[profiles.dev]\n',
    ],
    [
      "finds quoted keys",
      "['profiles'.\"prod\"]\n\"PREFECT_API_URL\" = 'a'",
      '[\'profiles\'."prod"]\n"PREFECT_API_URL" = "new"',
    ],
    [
      "goes on with dotted keys",
      "profiles.prod.B = 1\n[x]\n",
      'profiles.prod.B = 1\nprofiles.prod.PREFECT_API_URL = "new"\n[x]\n',
    ],
    ["indented ones too", "[profiles]\n  prod.B = 1\n", '[profiles]\n  prod.B = 1\n  prod.PREFECT_API_URL = "new"\n'],
    [
      "adds to an inline table",
      "[profiles]\nprod = { B = 1 }\n",
      '[profiles]\nprod = { B = 1, PREFECT_API_URL = "new" }\n',
    ],
    ["an empty one", "profiles = {}\n", 'profiles = { prod.PREFECT_API_URL = "new" }\n'],
    [
      "replaces within one",
      "profiles = {prod={PREFECT_API_URL=1,B=[{}]}}",
      'profiles = {prod={PREFECT_API_URL="new",B=[{}]}}',
    ],
    ["keeps CRLF", "[profiles.prod]\r\nB = 1\r\n", '[profiles.prod]\r\nB = 1\r\nPREFECT_API_URL = "new"\r\n'],
  ];
  test.each(rows)("%s", (_form, before, after) => {
    expect(setKey(before, KEY, "new")).toBe(after);
    expect(parse(after)).toMatchObject({ profiles: { prod: { PREFECT_API_URL: "new" } } });
  });

  test.each([
    ["[profiles.prod]\n", 'active = "prod"\n\n[profiles.prod]\n'],
    ["# head\n\n# prod\n[profiles.prod]\n", '# head\n\nactive = "prod"\n\n# prod\n[profiles.prod]\n'],
    ["# head\n[profiles.prod]\n", '# head\nactive = "prod"\n\n[profiles.prod]\n'],
    ["version = 1\n[profiles.prod]\n", 'version = 1\nactive = "prod"\n[profiles.prod]\n'],
    ["# only a comment", '# only a comment\nactive = "prod"\n'],
  ])("puts a key of the root before all tables: %j", (before, after) => {
    expect(setKey(before, ["active"], "prod")).toBe(after);
  });

  test.each(['"', "\\", "\n", "\u007f", "é日😀", "a=b # c"])("writes %j so that it is read back", (value) => {
    expect(parse(setKey("", KEY, value))).toEqual({ profiles: { prod: { PREFECT_API_URL: value } } });
  });
});

describe("removeKey", () => {
  test.each([
    [
      "a line with its comment",
      "[profiles.prod]\n# kept\nPREFECT_API_URL = 1 # gone\nB = 1\n",
      "[profiles.prod]\n# kept\nB = 1\n",
    ],
    ["the last line", "[profiles.prod]\nPREFECT_API_URL = 1", "[profiles.prod]\n"],
    [
      "the first item of an inline table",
      "profiles.prod = { PREFECT_API_URL = 1, B = 2 }",
      "profiles.prod = { B = 2 }",
    ],
    ["its last", "profiles.prod = { B = 2, PREFECT_API_URL = 1 }", "profiles.prod = { B = 2 }"],
    ["its only one", "profiles.prod = { PREFECT_API_URL = 1 }", "profiles.prod = {}"],
    ["nothing", "[profiles.dev]\nPREFECT_API_URL = 1", "[profiles.dev]\nPREFECT_API_URL = 1"],
    ["one of CRLF lines", "[profiles.prod]\r\nPREFECT_API_URL = 1\r\nB = 2\r\n", "[profiles.prod]\r\nB = 2\r\n"],
  ])("takes %s", (_what, before, after) => {
    expect(removeKey(before, KEY)).toBe(after);
  });

  test("takes a table with its comments and the tables below it, however they are spread", () => {
    const text =
      "# file\n\n# prod\n[profiles.prod]\nA = 1\n# last\n\n# dev\n[profiles.dev]\nB = 2\n[profiles.prod.x]\nC = 3\n";
    expect(removeKey(text, ["profiles", "prod"])).toBe("# file\n\n# dev\n[profiles.dev]\nB = 2\n");
  });

  test("leaves the comment that a file begins with", () => {
    expect(removeKey("# file\n[profiles.prod]\nA = 1\n", ["profiles", "prod"])).toBe("# file\n");
  });
});

test("renameKey changes a table's name wherever it stands", () => {
  const text = "[profiles.prod]\nA = 1\n[profiles.prod.x]\n[profiles]\ndev.prod = 1\n";
  expect(renameKey(text, ["profiles", "prod"], "a b")).toBe(
    '[profiles."a b"]\nA = 1\n[profiles."a b".x]\n[profiles]\ndev.prod = 1\n',
  );
});

test.each([
  ["", "[profiles.prod]\n"],
  ["profiles = { dev = {} }", "profiles = { dev = {}, prod = {} }"],
  ["profiles.prod.A = 1", "profiles.prod.A = 1"],
])("addTable to %j", (before, after) => {
  expect(addTable(before, ["profiles", "prod"])).toBe(after);
});

describe("any file that smol-toml can write", () => {
  const seeds = Array.from({ length: 500 }, (_, index) => index + 1);

  test("survives a set, an unset, a removal and a renaming: only what is named changes", () => {
    for (const seed of seeds) {
      const random = randomFrom(seed);
      const content = randomFile(random);
      const text = withComments(stringify(content), random);
      const profiles = content.profiles as Record<string, TomlTable>;
      const name = pick(random, Object.keys(profiles));
      const key = pick(random, [...Object.keys(profiles[name] ?? {}), "PREFECT_NEW"]);
      const value = randomText(random);
      const context = { seed, name, key, text };

      const set = setKey(text, ["profiles", name, key], value);
      expect({ ...context, read: parse(set) }).toEqual({ ...context, read: changed(content, name, { [key]: value }) });
      // The comments of a table go with it.
      if (typeof profiles[name]?.[key] !== "object") expect(comments(set)).toEqual(comments(text));

      const { [key]: _gone, ...rest } = profiles[name] ?? {};
      const unset = removeKey(set, ["profiles", name, key]);
      expect({ ...context, read: parse(unset) }).toEqual({ ...context, read: replaced(content, name, rest) });
      expect(addTable(unset, ["profiles", name])).toBe(unset);

      const { [name]: _removed, ...others } = profiles;
      const removed = removeKey(text, ["profiles", name]);
      expect({ ...context, read: parse(removed).profiles ?? {} }).toEqual({ ...context, read: others });

      const newName = `new ${randomText(random)}`;
      const renamed = renameKey(text, ["profiles", name], newName);
      expect({ ...context, read: parse(renamed) }).toEqual({
        ...context,
        read: { ...content, profiles: { ...others, [newName]: profiles[name] } },
      });

      const active = setKey(text, ["active"], value);
      expect({ ...context, read: parse(active) }).toEqual({ ...context, read: { ...content, active: value } });
    }
  });
});

const CHARACTERS = [..."abcXYZ019_- .=#[]{}\"'\\,\n\t\r\u007fé日😀"];

function randomText(random: Random): string {
  return Array.from({ length: Math.floor(random() * 8) }, () => pick(random, CHARACTERS)).join("");
}

function randomTable(random: Random, depth: number): TomlTable {
  const size = Math.floor(random() * 5);
  return Object.fromEntries(Array.from({ length: size }, () => [randomText(random), randomValue(random, depth)]));
}

function randomValue(random: Random, depth: number): TomlTable[string] {
  const kinds: (() => TomlTable[string])[] = [
    () => randomText(random),
    () => Math.floor(random() * 1e6) / pick(random, [1, 64]),
    () => random() < 0.5,
    () => new Date(Math.floor(random() * 2e12)) as unknown as TomlTable[string],
  ];
  const nested: (() => TomlTable[string])[] = [
    () => Array.from({ length: Math.floor(random() * 3) }, () => randomValue(random, depth - 1)),
    () => randomTable(random, depth - 1),
  ];
  return pick(random, depth > 0 ? [...kinds, ...nested] : kinds)();
}

function randomFile(random: Random): TomlTable {
  const names = Array.from({ length: 1 + Math.floor(random() * 4) }, () => randomText(random));
  const profiles = Object.fromEntries(names.map((name) => [name, randomTable(random, 2)]));
  return { ...randomTable(random, 1), profiles, ...randomTable(random, 1) };
}

/** Puts comments above headers and behind some lines, which smol-toml's output has only where none of its strings are. */
function withComments(text: string, random: Random): string {
  return text.replace(/^\[.*\]$/gm, (header) =>
    random() < 0.5 ? `# about ${Math.floor(random() * 1e6)}\n${header} # [here]` : header,
  );
}

function comments(text: string): string[] {
  return text.match(/^# about.*|# \[here\]/gm) ?? [];
}

function changed(content: TomlTable, name: string, change: TomlTable): TomlTable {
  return replaced(content, name, { ...(content.profiles as Record<string, TomlTable>)[name], ...change });
}

function replaced(content: TomlTable, name: string, profile: TomlTable): TomlTable {
  return { ...content, profiles: { ...(content.profiles as TomlTable), [name]: profile } };
}
