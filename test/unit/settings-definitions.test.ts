import { describe, expect, expectTypeOf, test } from "vitest";
import { catalogue, findSetting, isSecret, redact, variableOf } from "../../src/settings/catalogue.ts";
import { DEFINITIONS, type SettingValues } from "../../src/settings/definitions.ts";
import { parseValue } from "../../src/settings/parse.ts";
import { PASSED_ON_DEFINITIONS } from "../../src/settings/passed-on-definitions.ts";

test("the name of each setting is its TOML path in upper case behind PREFECT_", () => {
  expect(Object.keys(DEFINITIONS)).toEqual(Object.values(DEFINITIONS).map(({ toml }) => variableOf(toml)));
});

test("no setting is in both tables", () => {
  const paths = Object.values(DEFINITIONS).map(({ toml }) => toml);
  expect(paths.filter((path) => Object.hasOwn(PASSED_ON_DEFINITIONS, path))).toEqual([]);
});

test("all 227 settings of Prefect 3.9.1 and their 105 aliases are known, and two of lictor's own", () => {
  expect(catalogue().byPath.size).toBe(227 + 2);
  expect(catalogue().byVariable.size).toBe(227 + 105 + 2);
});

test("every default is a value that its own parser accepts", () => {
  const given = Object.values(DEFINITIONS).filter((definition) => definition.default !== null);
  expect(given.map((definition) => parseValue(definition, definition.default))).toEqual(
    given.map((definition) => definition.default),
  );
});

test("an alias finds the setting under its canonical name", () => {
  expect(findSetting("PREFECT_RUNNER_HEARTBEAT_FREQUENCY")?.name).toBe("PREFECT_FLOWS_HEARTBEAT_FREQUENCY");
});

test("groups are known by their variable name", () => {
  expect(catalogue().groups.get("PREFECT_LOGGING_TO_API")).toBe("logging.to_api");
});

describe("isSecret", () => {
  test.each([
    ["PREFECT_API_KEY", true],
    ["PREFECT_API_AUTH_STRING", true],
    ["PREFECT_CLIENT_CUSTOM_HEADERS", true],
    ["PREFECT_API_DATABASE_CONNECTION_URL", true],
    ["PREFECT_API", true],
    ["PREFECT_WORKER", false],
    ["PREFECT_API_URL", false],
    ["PREFECT_NO_SETTING", false],
  ])("of %s is %s", (name, expected) => {
    expect(isSecret(name)).toBe(expected);
  });
});

test("redact hides secrets whole, and the user and password of a URL", () => {
  expect(redact("PREFECT_API_KEY", "pnu_abc")).toBe("********");
  expect(redact("PREFECT_API_URL", "http://me:p/w@host:4200/api")).toBe("http://********@host:4200/api");
  expect(redact("PREFECT_API_URL", "http://host:4200/api")).toBe("http://host:4200/api");
});

test("the type of a value follows from its row", () => {
  expectTypeOf<SettingValues["PREFECT_API_URL"]>().toEqualTypeOf<string | null>();
  expectTypeOf<SettingValues["PREFECT_WORKER_QUERY_SECONDS"]>().toEqualTypeOf<number>();
  expectTypeOf<SettingValues["PREFECT_CLI_PROMPT"]>().toEqualTypeOf<boolean | null>();
  expectTypeOf<SettingValues["PREFECT_CLIENT_RETRY_EXTRA_CODES"]>().toEqualTypeOf<readonly number[]>();
  expectTypeOf<SettingValues["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"]>().toEqualTypeOf<
    "warn" | "error" | "ignore"
  >();
});
