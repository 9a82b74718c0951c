import { describe, expect, test } from "vitest";
import { SettingsError } from "../../src/settings/settings-error.ts";
import { type Env, type Files, load, profile } from "./settings-directory.ts";

const NAME = "PREFECT_WORKER_QUERY_SECONDS";

describe("a bad value is a SettingsError that names where it is, what was found and what is expected", () => {
  const rows: [name: string, files: Files, env: Env, message: RegExp][] = [
    [
      "in the environment",
      {},
      { [NAME]: "x" },
      /^PREFECT_WORKER_QUERY_SECONDS, from the environment: found "x", expected a number$/,
    ],
    [
      "under an alias",
      {},
      { PREFECT_RUNNER_HEARTBEAT_FREQUENCY: "9" },
      /as PREFECT_RUNNER_HEARTBEAT_FREQUENCY: found "9", expected an integer of at least 30$/,
    ],
    [
      "in prefect.toml",
      { "prefect.toml": "[worker]\nquery_seconds = true" },
      {},
      /from prefect\.toml \[worker\] query_seconds: found "true"/,
    ],
    ["in a profile", profile(`${NAME} = 'x'`), {}, /from profile "p" in .*profiles\.toml: found "x"/],
    [
      "an array in a profile",
      profile("PREFECT_LOGGING_EXTRA_LOGGERS = ['a']"),
      {},
      /^PREFECT_LOGGING_EXTRA_LOGGERS, from profile "p" in .*: expected a string, a number/,
    ],
    [
      "a secret is not shown",
      { "prefect.toml": "[api]\nkey = 12345" },
      {},
      /^PREFECT_API_KEY, .*: found "\*{8}", expected a string$/,
    ],
    ["headers are not shown", {}, { PREFECT_CLIENT_CUSTOM_HEADERS: "12345" }, /found "\*{8}", expected a JSON object/],
    [
      "a group that is no JSON is not shown",
      {},
      { PREFECT_API: "12345" },
      /^PREFECT_API, from the environment: expected a JSON object/,
    ],
    [
      "a value where a table belongs",
      { "prefect.toml": "worker = 12345" },
      {},
      /^worker, from prefect\.toml: expected a table/,
    ],
    ["a date", { "prefect.toml": "[worker]\nquery_seconds = 2020-01-01" }, {}, /expected a number/],
    [
      "a setting that is only handed on",
      {},
      { PREFECT_TASKS_DEFAULT_RETRIES: "-1" },
      /expected an integer of at least 0/,
    ],
    [
      "a password in a URL is not shown",
      { "prefect.toml": "[worker]\nquery_seconds = 'http://u:12345@h'" },
      {},
      /found "http:\/\/\*{8}@h"/,
    ],
    ["line ends stay escaped", {}, { [NAME]: "1\n2" }, /found "1\\n2"/],
    [
      "logs larger than their batch",
      {},
      { PREFECT_LOGGING_TO_API_BATCH_SIZE: "10" },
      /BATCH_SIZE is 10: expected at least/,
    ],
    [
      "invalid TOML",
      { "prefect.toml": "[api]\nkey = 12345 6" },
      {},
      /^Cannot read .*prefect\.toml: invalid TOML in line 2, column \d+$/,
    ],
    ["invalid TOML in pyproject.toml", { "pyproject.toml": "[" }, {}, /^Cannot read .*pyproject\.toml: invalid TOML/],
  ];
  test.each(rows)("%s", (_, files, env, message) => {
    expect(() => load(files, env)).toThrow(SettingsError);
    expect(() => load(files, env)).toThrow(message);
    expect(() => load(files, env)).not.toThrow(/\n|12345/);
  });

  test("the error holds key and origin", () => {
    expect(() => load({}, { [NAME]: "x" })).toThrow(
      expect.objectContaining({ key: NAME, origin: expect.objectContaining({ kind: "environment" }) }),
    );
  });
});
