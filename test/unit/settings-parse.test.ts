import { describe, expect, test } from "vitest";
import { type Definition, expectation, formatValue, type Kind, parseValue } from "../../src/settings/parse.ts";
import { parseDuration } from "../../src/settings/python-values.ts";

type Row = [name: string, kind: Kind, given: unknown, expected: unknown, bounds?: Partial<Definition>];

function definition(kind: Kind, bounds: Partial<Definition> = {}): Definition {
  return { kind, toml: "group.field", default: null, ...bounds };
}

const accepted: Row[] = [
  ["a boolean may be written 1", "boolean", "1", true],
  ["a boolean may be written in any case", "boolean", "YeS", true],
  ["a boolean may be one letter", "boolean", "t", true],
  ["a boolean may be written off", "boolean", "off", false],
  ["a boolean may be a TOML boolean", "boolean", false, false],
  ["a boolean may be the TOML number 1", "boolean", 1, true],
  ["an integer", "integer", "8080", 8080],
  ["an integer may end in .0", "integer", "80.0", 80],
  ["an integer may have underscores", "integer", "1_000", 1000],
  ["an integer may have a sign and spaces around", "integer", " +5 ", 5],
  ["an integer may be a whole TOML float", "integer", 80.0, 80],
  ["minus zero is zero", "integer", "-0", 0],
  ["a lowest number is itself allowed", "integer", "30", 30, { min: 30 }],
  ["a float may be an integer", "float", "30", 30],
  ["a float may have an exponent", "float", "1e1", 10],
  ["a float may have spaces around", "float", " 30 ", 30],
  ["a float may lack digits before or behind the point", "float", ".5", 0.5],
  ["a float may be a TOML integer", "float", 5, 5],
  ["a log level may be in any case", "logLevel", "debug", "DEBUG"],
  ["status codes may be separated by commas", "statusCodes", "502, 429,429", [429, 502]],
  ["status codes may be a single one", "statusCodes", "429", [429]],
  ["status codes may be a JSON array", "statusCodes", "[429,502]", [429, 502]],
  ["status codes may be empty", "statusCodes", "", []],
  ["status codes may be a TOML array", "statusCodes", [429, "502"], [429, 502]],
  ["a status code may be a TOML number", "statusCodes", 429, [429]],
  ["a list is trimmed, sorted and without doubles", "list", " b , a,a", ["a", "b"]],
  ["an empty list", "list", "", []],
  ["a dictionary is a JSON object", "dictionary", '{"a":"b"}', { a: "b" }],
  ["a dictionary may be a TOML table", "dictionary", { a: "b" }, { a: "b" }],
  ["a choice", "choice", "warn", "warn", { choices: ["warn", "error"] }],
  ["a string may be empty", "string", "", ""],
  ["an empty path is the current directory", "path", "", "."],
  ["a float may be infinite", "float", "-inf", -Infinity],
  ["a float may overflow", "float", "1e400", Infinity],
  ["a float without bounds may be nan", "float", "NaN", Number.NaN],
  ["an integer may be a big one of TOML", "integer", 5n, 5],
  ["a list may be what Python takes for false", "list", "false", []],
  ["a list may be a JSON string", "list", '"a,b"', ["a", "b"]],
  ["status codes may be a JSON number", "statusCodes", "1E2", [100]],
  ["a duration may be a time", "duration", "1 day 1:30:00", "1 day 1:30:00"],
  ["seconds may be a number", "seconds", " 1.5 ", " 1.5 "],
  ["a delay may be a list of TOML", "delay", [1, 2n], "[1,2]"],
  ["delays may be separated by commas", "delays", "0.1,,2", "0.1,,2"],
  ["names may be true", "names", true, "true"],
  ["a duration in TOML may be a number of seconds", "duration", 60, "PT60S"],
];

const rejected: Row[] = [
  ["a boolean is not empty", "boolean", "", undefined],
  ["a boolean has no spaces around", "boolean", " true", undefined],
  ["a boolean is not 2", "boolean", 2, undefined],
  ["an integer has no fraction", "integer", "80.5", undefined],
  ["an integer is not empty", "integer", "", undefined],
  ["an integer has no exponent", "integer", "1e3", undefined],
  ["an integer is not hexadecimal", "integer", "0x10", undefined],
  ["an integer has no doubled underscore", "integer", "1__0", undefined],
  ["an integer below the lowest", "integer", "29", undefined, { min: 30 }],
  ["a number that must be above 0 is not 0", "integer", "0", undefined, { above: 0 }],
  ["a number above the highest", "float", "3601", undefined, { max: 3600 }],
  ["a float is not empty", "float", "", undefined],
  ["a log level is a known one", "logLevel", "WARN", undefined],
  ["a log level has no spaces around", "logLevel", " INFO", undefined],
  ["a log level is not a number", "logLevel", 10, undefined],
  ["status codes are integers", "statusCodes", "abc", undefined],
  ["status codes end at 599", "statusCodes", "600", undefined],
  ["status codes begin at 100", "statusCodes", "99", undefined],
  ["status codes have no empty item", "statusCodes", "429,", undefined],
  ["a dictionary is not empty text", "dictionary", "", undefined],
  ["a dictionary is JSON", "dictionary", "a=b", undefined],
  ["a dictionary is no array", "dictionary", "[]", undefined],
  ["a dictionary has strings only", "dictionary", '{"a":1}', undefined],
  ["a float with a bound is a number", "float", "nan", undefined, { min: 0 }],
  ["a float within bounds is not infinite", "float", "inf", undefined, { max: 1 }],
  ["a list has no number of JSON", "list", "1", undefined],
  ["a duration is no number of seconds in a variable", "duration", "30", undefined],
  ["a duration has no more than 59 minutes", "duration", "1:60:00", undefined],
  ["seconds above an hour are not 3600", "seconds", "1:00:00", undefined, { above: 3600 }],
  ["the seconds of a name are above 0", "secondsByName", '{"a": 0}', undefined],
  ["a delay is not empty", "delay", "", undefined],
  ["a delay is not separated by commas", "delay", "1,2", undefined],
  ["delays are numbers", "delays", "1,a", undefined],
  ["names are no numbers", "names", "[1]", undefined],
  ["a choice is in the case of the list", "choice", "WARN", undefined, { choices: ["warn"] }],
  ["a string is not a number", "string", 5, undefined],
  ["no kind takes a date", "string", new Date(0), undefined],
];

describe("parseValue accepts what pydantic accepts", () => {
  test.each(accepted)("%s", (_, kind, given, expected, bounds) => {
    expect(parseValue(definition(kind, bounds), given)).toStrictEqual(expected);
  });
});

describe("parseValue rejects", () => {
  test.each(rejected)("%s", (_, kind, given, expected, bounds) => {
    expect(parseValue(definition(kind, bounds), given)).toBe(expected);
  });
});

describe("formatValue writes a variable as Prefect does", () => {
  const rows: [name: string, kind: Kind, value: unknown, text: string][] = [
    ["true has a capital", "boolean", true, "True"],
    ["false has a capital", "boolean", false, "False"],
    ["a whole float has a point", "float", 10, "10.0"],
    ["a float with a fraction", "float", 0.5, "0.5"],
    ["an integer", "integer", 8080, "8080"],
    ["status codes are joined by commas", "statusCodes", [429, 502], "429,502"],
    ["lists are joined by commas", "list", ["a", "b"], "a,b"],
    ["an empty list is empty text", "list", [], ""],
    ["a dictionary is JSON", "dictionary", { a: "b" }, '{"a":"b"}'],
  ];
  test.each(rows)("%s", (_, kind, value, text) => {
    expect(formatValue(definition(kind), value)).toBe(text);
  });
});

test("the expectation names choices and bounds", () => {
  expect(expectation(definition("choice", { choices: ["a", "b"] }))).toBe("one of a, b");
  expect(expectation(definition("float", { min: 30, max: 3600 }))).toBe("a number of at least 30 up to 3600");
  expect(expectation(definition("integer", { above: 0 }))).toBe("an integer above 0");
});

describe("parseDuration reads seconds as pydantic does", () => {
  test.each([
    ["PT30S", 30],
    ["-PT1.5S", -1.5],
    ["P1Y1M1W1DT1H1M1S", (365 + 30 + 7 + 1) * 86_400 + 3661],
    ["P1DT", 86_400],
    ["+1:00:00", 3600],
    ["25:00", 90_000],
    ["1 day", 86_400],
    ["2 days 0:00:01.5", 172_801.5],
    ["-1d", -86_400],
  ])("%s", (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds);
  });

  test.each(["", "P", "PT", "30", "1:00", "1:2:3", "P1D1H", "pt5s", "PT-5S", " PT5S", "1 hour", "1 day,1:00:00"])(
    "%j is none",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
});
