// Every setting that lictor and Prefect know, in many spellings: both have to take or refuse the same texts, and an engine
// has to read what lictor hands on as it would have read the text itself.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { catalogue } from "../../src/settings/catalogue.ts";
import type { Definition, Kind } from "../../src/settings/parse.ts";
import { inCheckout } from "../support/checkout.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { load } from "../unit/settings-directory.ts";

const WORDS = ["", " ", "null", "None", "true", " true ", "1", "1.0", "[]", "{}", "a", "é"];
const BOOLEANS = ["True", "TRUE", "yes", "t", "on", "OFF", "0", "2", "-0", "1e0"];
const NUMBERS = [
  "-1",
  "-0",
  "+5",
  " 5 ",
  "1.5",
  ".5",
  "5.",
  "30",
  "599",
  "1_000",
  "1__0",
  "1e3",
  "0x10",
  "3600",
  "1e400",
];
const ODD_NUMBERS = ["inf", "-Infinity", "Infinity", "nan", "9007199254740993", "12345678901234567890", "1\u00a0"];
const LISTS = ["429,502", "429,", ",", " a , b,a", '["a", "b"]', "[429]", "[1, 2]", '["1"]', '"a"', "'a'", "[null]"];
const OBJECTS = ['{"a": "b"}', '{"a": 1}', '{"a": 0}', '{"a": "PT1S"}', '{"a": null}', '{"a": {}}', '{"a": [1]}'];
const DURATIONS = ["PT30S", "-PT5S", "P1D", "P1Y2M", "P1W1DT1.5H", "P", "PT", "P1DT", "P1D1H", "PT-5S", "pt5s"];
const TIMES = [
  "1:00:00",
  "1:00",
  "01:30",
  "25:00:00",
  "1:60:00",
  "1 day",
  "1 days 1:00:00",
  "1d",
  "2 Days",
  "+1:00:00",
];
const LEVELS = ["debug", "INFO", "Warning", "WARN", "info ", "10", "NOTSET"];

const NUMERIC = [...WORDS, ...BOOLEANS, ...NUMBERS, ...ODD_NUMBERS, "[429]"];
const JSON_LIKE = [...NUMERIC, ...LISTS, ...OBJECTS];
const TIMED = [...NUMERIC, ...DURATIONS, ...TIMES];

/** The spellings that are tried for the settings of each kind. */
const SPELLINGS: Readonly<Record<Kind, readonly string[]>> = {
  string: WORDS,
  url: [...WORDS, "http://h:4200/api", "http://h/api/ ", "ftp://h"],
  credential: [...WORDS, "me:pass\n"],
  path: [...WORDS, "~/x", "$PREFECT_HOME/x", "/a//b"],
  boolean: [...WORDS, ...BOOLEANS],
  integer: NUMERIC,
  float: NUMERIC,
  logLevel: [...WORDS, ...LEVELS],
  choice: [...WORDS, "warn", "WARN", "error", "ignore "],
  statusCodes: JSON_LIKE,
  list: JSON_LIKE,
  dictionary: JSON_LIKE,
  duration: [...TIMED, ...LISTS],
  seconds: [...TIMED, ...LISTS],
  secondsByName: [...JSON_LIKE, ...DURATIONS],
  delay: [...JSON_LIKE, ...DURATIONS],
  delays: [...JSON_LIKE, ...DURATIONS, "0.1,2"],
  names: JSON_LIKE,
  json: WORDS,
};

/** What lictor hands on is meant to be another value than the text, with the reason. */
const INTENDED: Readonly<Partial<Record<Kind | string, string>>> = {
  url: "white space and slashes at the end of a URL are removed, because engines fail on them",
  credential: "white space around a credential is removed, because no header can carry it",
  path: "$PREFECT_HOME is replaced, because only the whole settings of Prefect know it",
  PREFECT_HOME: "a relative path becomes absolute, because an engine has another working directory",
  PREFECT_PROFILES_PATH: "a relative path becomes absolute, because an engine has another working directory",
  PREFECT_API_SSL_CERT_FILE: "a relative path becomes absolute, because an engine has another working directory",
};

interface Pair {
  name: string;
  text: string;
  /** null: lictor refuses the text; undefined: it hands nothing on. */
  handedOn: string | null | undefined;
  isComparable: boolean;
}

/** All spellings for the first setting of each kind with these bounds, every fifth for the others. */
function pairsOf(name: string, { kind, min, above, max, choices }: Definition, seen: Set<string>): Pair[] {
  const shape = JSON.stringify([kind, min, above, max, choices]);
  const isFirst = !seen.has(shape);
  seen.add(shape);
  const spellings = SPELLINGS[kind].filter((_, index) => isFirst || index % 5 === 0);
  const isComparable = INTENDED[kind] === undefined && INTENDED[name] === undefined;
  return spellings.map((text) => ({ name, text, handedOn: handedOnBy(name, text), isComparable }));
}

function handedOnBy(name: string, text: string): string | null | undefined {
  try {
    return load({}, { [name]: text }).exported[name];
  } catch {
    return null;
  }
}

async function askPrefect(pairs: readonly Pair[]): Promise<string[]> {
  await using home = await makeTemporaryDirectory("prefect-home-");
  const file = join(home.path, "pairs.json");
  const rows = pairs.map(({ name, text, handedOn, isComparable }) => [
    name,
    text,
    isComparable ? (handedOn ?? null) : null,
  ]);
  await writeFile(file, JSON.stringify(rows));
  const { code, stdout, stderr } = await runCommand(
    inject("python"),
    [inCheckout("test/fixtures/programs/prefect_settings.py"), file],
    { env: cleanEnvironment({ HOME: home.path }), cwd: home.path },
  );
  if (code !== 0) throw new Error(`prefect_settings.py: exit ${code}\n${stderr}`);
  return JSON.parse(stdout) as string[];
}

test("every setting takes and refuses the texts that Prefect does, and engines read the same value", async () => {
  needsPrefect("3.9.1", "the settings that lictor knows");
  const { byPath, groups } = catalogue();
  const settings = [...byPath.values()].filter(({ definition }) => definition.fileOf === undefined);
  const seen = new Set<string>();
  const pairs = settings.flatMap(({ name, definition }) => pairsOf(name, definition, seen));
  for (const name of groups.keys()) {
    for (const text of ["null", "{}", " ", "[]", "1", '{"unknown": 1}']) {
      pairs.push({ name, text, handedOn: handedOnBy(name, text), isComparable: false });
    }
  }
  const answers = await askPrefect(pairs);
  const differences = pairs.flatMap(({ name, text, handedOn }, index) => {
    const expected = handedOn === null ? "refused" : "same";
    const answer = answers[index];
    return answer === expected ? [] : [{ name, text, handedOn, prefect: answer }];
  });
  expect(differences).toEqual([]);
  // A spelling that is refused everywhere, or nowhere, would prove little.
  const refused = answers.filter((answer) => answer === "refused").length;
  expect(refused).toBeGreaterThan(400);
  expect(answers.length - refused).toBeGreaterThan(1_000);
}, 300_000);
