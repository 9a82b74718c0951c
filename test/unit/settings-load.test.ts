import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Env, type Files, load, profile, settingsDirectory } from "./settings-directory.ts";

const NAME = "PREFECT_WORKER_QUERY_SECONDS";

describe("precedence: each source beats all below it", () => {
  // From the highest to the lowest; each row holds only itself and everything below.
  const sources: [kind: string, files: Files, env: Env, description: RegExp][] = [
    ["environment", {}, { [NAME]: "1" }, /^from the environment$/],
    [".env", { ".env": `${NAME}=2` }, {}, /^from \.env$/],
    [
      "prefect.toml",
      { "prefect.toml": "[worker]\nquery_seconds = 3" },
      {},
      /^from prefect\.toml \[worker\] query_seconds$/,
    ],
    [
      "pyproject.toml",
      { "pyproject.toml": "[tool.prefect]\nworker.query_seconds = 4" },
      {},
      /^from pyproject\.toml \[tool\.prefect\.worker\] query_seconds$/,
    ],
    ["profile", profile(`${NAME} = '5'`), {}, /^from profile "p" in .*home\/profiles\.toml$/],
  ];
  test.each(sources.map((row, index) => [row[0], index] as const))("%s", (kind, index) => {
    const present = sources.slice(index);
    const files = Object.assign({}, ...present.map(([, content]) => content));
    const env = Object.assign({}, ...present.map(([, , variables]) => variables));
    const settings = load(files, env);
    expect(settings.values[NAME]).toBe(index + 1);
    expect(settings.exported[NAME]).toBe(`${index + 1}.0`);
    expect(settings.origins.get(NAME)).toMatchObject({ kind, raw: String(index + 1) });
    expect(settings.origins.get(NAME)?.description).toMatch(sources[index]?.[3] ?? "");
  });

  test("default", () => {
    const settings = load({});
    expect(settings.values[NAME]).toBe(10);
    expect(settings.exported).not.toHaveProperty(NAME);
    expect(settings.origins.has(NAME)).toBe(false);
  });

  test("the environment also beats a profile named on the command line", () => {
    using directory = settingsDirectory(profile(`${NAME} = '5'`));
    expect(directory.load({ [NAME]: "1" }, "p").values[NAME]).toBe(1);
  });
});

describe("names", () => {
  const CANONICAL = "PREFECT_CLIENT_METRICS_ENABLED";
  const ALIAS = "PREFECT_CLIENT_ENABLE_METRICS";
  const rows: [name: string, files: Files, env: Env, expected: boolean, key: string][] = [
    ["an alias counts in the environment", {}, { [ALIAS]: "1" }, true, ALIAS],
    ["an alias counts in .env", { ".env": `${ALIAS}=1` }, {}, true, ALIAS],
    ["an alias counts in a profile", profile(`${ALIAS} = '1'`), {}, true, ALIAS],
    ["the canonical name beats the alias in one source", {}, { [CANONICAL]: "0", [ALIAS]: "1" }, false, CANONICAL],
    [
      "an alias in a higher source beats the canonical name in a lower one",
      { "prefect.toml": "[client.metrics]\nenabled = false" },
      { [ALIAS]: "1" },
      true,
      ALIAS,
    ],
    ["variables count in any case", {}, { [CANONICAL.toLowerCase()]: "1" }, true, CANONICAL],
    [
      "of two names that differ in case the one in upper case counts",
      {},
      { [CANONICAL]: "0", [CANONICAL.toLowerCase()]: "1" },
      false,
      CANONICAL,
    ],
    ["a group may be JSON", {}, { PREFECT_CLIENT: '{"metrics":{"enabled":true}}' }, true, "PREFECT_CLIENT"],
    [
      "a group beats its single variables in one source",
      {},
      { PREFECT_CLIENT_METRICS: '{"enabled":true}', [CANONICAL]: "0" },
      true,
      "PREFECT_CLIENT_METRICS",
    ],
    [
      "an outer group beats an inner one",
      {},
      { PREFECT_CLIENT_METRICS: '{"enabled":false}', PREFECT_CLIENT: '{"metrics":{"enabled":true}}' },
      true,
      "PREFECT_CLIENT",
    ],
    [
      "the environment beats a group in .env",
      { ".env": `PREFECT_CLIENT='{"metrics":{"enabled":true}}'` },
      { [CANONICAL]: "0" },
      false,
      CANONICAL,
    ],
    [
      "null in a group is not given",
      {},
      { PREFECT_API: '{"url":null}', PREFECT_CLIENT_METRICS: "null", [CANONICAL]: "1" },
      true,
      CANONICAL,
    ],
  ];
  test.each(rows)("%s", (_, files, env, expected, key) => {
    const settings = load(files, env);
    expect(settings.values[CANONICAL]).toBe(expected);
    expect(settings.exported[CANONICAL]).toBe(expected ? "True" : "False");
    expect(settings.origins.get(CANONICAL)?.key).toBe(key);
  });

  test("an alias in TOML names no setting", () => {
    const { warnings } = load({ "prefect.toml": "[client]\nenable_metrics = true" });
    expect(warnings).toEqual(["Unknown setting client.enable_metrics in prefect.toml is ignored."]);
  });

  test("unknown variables are none of our business", () => {
    expect(load({ ".env": "PREFECT_NO_SETTING=1" }, { PREFECT__FLOW_RUN_ID: "x" }).warnings).toEqual([]);
  });

  test("an unknown key of a profile is a warning that names the file", () => {
    using directory = settingsDirectory(profile("PREFECT_NO_SETTING = '1'"));
    expect(directory.load().warnings).toEqual([
      `Unknown setting PREFECT_NO_SETTING in profile "p" in ${directory.profilesFile} is ignored.`,
    ]);
  });
});

describe("values", () => {
  test("an empty string is a value", () => {
    const settings = load(profile("PREFECT_API_URL = 'http://h/api'"), { PREFECT_API_URL: "" });
    expect(settings.values.PREFECT_API_URL).toBe("");
    expect(settings.exported.PREFECT_API_URL).toBe("");
  });

  test("TOML gives natural types", () => {
    const toml = `debug_mode = 1
      [worker.webserver]
      port = 80
      [client]
      retry_extra_codes = [429]
      custom_headers = { A = "b" }
      [logging]
      extra_loggers = ["b", "a"]`;
    expect(load({ "prefect.toml": toml }).values).toMatchObject({
      PREFECT_DEBUG_MODE: true,
      PREFECT_WORKER_WEBSERVER_PORT: 80,
      PREFECT_CLIENT_RETRY_EXTRA_CODES: [429],
      PREFECT_CLIENT_CUSTOM_HEADERS: { A: "b" },
      PREFECT_LOGGING_EXTRA_LOGGERS: ["a", "b"],
    });
  });

  test("settings that a worker does not read are handed on under their canonical name", () => {
    const settings = load(
      { "prefect.toml": "[tasks]\ndefault_retry_delay_seconds = [10, 1]\n[results]\npersist_by_default = true" },
      { PREFECT_LOCAL_STORAGE_PATH: "/s", PREFECT_API_DATABASE_PASSWORD: "secret" },
    );
    expect(settings.exported).toMatchObject({
      PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS: "[10,1]",
      PREFECT_RESULTS_PERSIST_BY_DEFAULT: "True",
      PREFECT_RESULTS_LOCAL_STORAGE_PATH: "/s",
      PREFECT_SERVER_DATABASE_PASSWORD: "secret",
    });
  });

  test("paths lie below the home directory", () => {
    using directory = settingsDirectory();
    const { values } = directory.load();
    expect(values.PREFECT_LOGGING_CONFIG_PATH).toBe(join(directory.home, "logging.yml"));
    expect(values.PREFECT_PROFILES_PATH).toBe(directory.profilesFile);
  });

  test("a home directory may begin with ~", () => {
    using directory = settingsDirectory();
    const settings = directory.load({ PREFECT_HOME: "~/home" });
    expect(settings.values.PREFECT_HOME).toBe(directory.home);
    expect(settings.exported.PREFECT_HOME).toBe(directory.home);
  });

  test("debug mode forces the log levels", () => {
    const { values } = load({}, { PREFECT_DEBUG_MODE: "1", PREFECT_LOGGING_LEVEL: "ERROR" });
    expect(values).toMatchObject({ PREFECT_LOGGING_LEVEL: "DEBUG", PREFECT_INTERNAL_LOGGING_LEVEL: "DEBUG" });
  });

  test("SSL_CERT_FILE is the default certificate file", () => {
    expect(load({}, { SSL_CERT_FILE: "/ca" }).values.PREFECT_API_SSL_CERT_FILE).toBe("/ca");
  });

  test.each([
    ["of a server drops /api", "http://127.0.0.1:4200/api", "http://127.0.0.1:4200"],
    [
      "of Prefect Cloud has other words",
      "https://api.prefect.cloud/api/accounts/a/workspaces/w",
      "https://app.prefect.cloud/account/a/workspace/w",
    ],
    ["is null without an API URL", "", null],
  ])("the UI URL %s", (_, PREFECT_API_URL, expected) => {
    expect(load({}, { PREFECT_API_URL }).values.PREFECT_UI_URL).toBe(expected);
  });

  test.each([
    ["the host of the UI", "https://app.prefect.cloud/api", 1],
    ["account and workspace in the singular", "https://x/api/account/a/workspace/w", 2],
    ["Prefect Cloud without /api", "https://api.prefect.cloud/accounts/a", 1],
    ["nothing", "https://api.prefect.cloud/api/accounts/a/workspaces/w", 0],
  ])("the API URL is warned about for %s", (_, PREFECT_API_URL, count) => {
    expect(load({}, { PREFECT_API_URL }).warnings).toHaveLength(count);
    expect(load({}, { PREFECT_API_URL, PREFECT_SILENCE_API_URL_MISCONFIGURATION: "1" }).warnings).toEqual([]);
  });

  test("the settings are frozen", () => {
    const settings = load({});
    const parts = [settings, settings.values, settings.exported, settings.profile, settings.warnings];
    expect(parts.every(Object.isFrozen)).toBe(true);
  });
});

test("a directory named .env, as for a Python virtual environment, is no .env file", () => {
  using directory = settingsDirectory();
  mkdirSync(join(directory.path, ".env"));
  expect(directory.load().warnings).toEqual([]);
});

describe("what a flow run's process gets is what lictor itself makes of a setting", () => {
  const rows: [name: string, setting: string, given: string, expected: string][] = [
    [
      "a URL without white space and slashes at its end",
      "PREFECT_API_URL",
      " http://h:4200/api// \n",
      "http://h:4200/api",
    ],
    ["a URL without line breaks within", "PREFECT_API_URL", "http://h\n:4200/\tapi", "http://h:4200/api"],
    ["a URL with the usual two slashes", "PREFECT_API_URL", "http:/h:4200/api", "http://h:4200/api"],
    ["a URL with its scheme and host in lower case", "PREFECT_API_URL", "HTTPS://Api.Host/api", "https://api.host/api"],
    ["a URL without a lone question mark", "PREFECT_API_URL", "http://h/api/?#", "http://h/api"],
    ["user and password of a URL", "PREFECT_API_URL", "http://u:p@h/api/", "http://u:p@h/api"],
    ["a URL of Prefect Cloud", "PREFECT_CLOUD_API_URL", "https://api.cloud/api/ ", "https://api.cloud/api"],
    ["a text that is no URL, for an error elsewhere", "PREFECT_API_URL", " h:4200/api/ ", "h:4200/api/"],
    ["a key without a line break", "PREFECT_API_KEY", "pnu_k\n", "pnu_k"],
    ["a key of white space, which is none", "PREFECT_API_KEY", " \n", ""],
    ["an auth string without white space", "PREFECT_API_AUTH_STRING", "\tme:pass \n", "me:pass"],
    [
      "custom headers without white space around their values",
      "PREFECT_CLIENT_CUSTOM_HEADERS",
      '{"A":" Bearer t\\n"}',
      '{"A":"Bearer t"}',
    ],
    ["a boolean in Python's words", "PREFECT_LOGGING_TO_API_ENABLED", "off", "False"],
    ["an integer without its fraction", "PREFECT_CLIENT_MAX_RETRIES", " 3.0 ", "3"],
    ["a log level in upper case", "PREFECT_LOGGING_LEVEL", "debug", "DEBUG"],
  ];
  test.each(rows)("%s", (_, setting, given, expected) => {
    expect(load({}, { [setting]: given }).exported[setting]).toBe(expected);
  });

  test.each(["PREFECT_API_SSL_CERT_FILE", "PREFECT_HOME", "PREFECT_PROFILES_PATH"])(
    "%s that is relative to the working directory, which a flow run's process does not share",
    (setting) => {
      using directory = settingsDirectory();
      expect(directory.load({ [setting]: "own/file" }).exported[setting]).toBe(join(directory.path, "own/file"));
    },
  );

  test("a key from a file, without the white space around it", () => {
    using directory = settingsDirectory({ key: " pnu_k \r\n\n" });
    const { exported } = directory.load({ PREFECT_API_KEY_FILE: join(directory.path, "key") });
    expect(exported).toMatchObject({ PREFECT_API_KEY: "pnu_k" });
  });

  test("the variable of a whole group is taken back, because it would beat those of single settings", () => {
    const { exported } = load({}, { PREFECT_API: '{"url":" http://h:4200/api/ "}', PREFECT_WORKER: "{}" });
    expect(exported).toMatchObject({ PREFECT_API: "null", PREFECT_API_URL: "http://h:4200/api" });
  });

  test("a whole number keeps all its digits", () => {
    const { exported } = load({}, { PREFECT_RUNNER_PROCESS_LIMIT: " +9_007_199_254_740_993.0 " });
    expect(exported).toMatchObject({ PREFECT_RUNNER_PROCESS_LIMIT: "9007199254740993" });
  });

  test("the address of the UI follows from the tidied URL", () => {
    expect(load({}, { PREFECT_API_URL: "http://h:4200/api/ " }).values.PREFECT_UI_URL).toBe("http://h:4200");
  });
});

describe("tables of others in a TOML file never matter, whatever valid TOML they hold", () => {
  const foreign = [
    "[tool.other]",
    "big = 9223372036854775807",
    "least = -9223372036854775808",
    "hex = 0x7fffffffffffffff",
    "numbers = [nan, -inf, 1e400, 1_000, -0.0]",
    "times = [1979-05-27T07:32:00.999999-07:00, 1979-05-27, 07:32:00]",
    "nested = [[1, [9223372036854775807]], { a.b = 9223372036854775807 }]",
    "[[tool.others]]",
    "big = 9223372036854775807",
    "",
  ].join("\n");

  test.each<[file: string, content: string]>([
    ["pyproject.toml", `${foreign}[tool.prefect.client]\nmax_retries = 7\n`],
    ["home/profiles.toml", `active = "p"\n[profiles.p]\nPREFECT_CLIENT_MAX_RETRIES = 7\n${foreign}`],
    ["prefect.toml", `[client]\nmax_retries = 7\n`],
  ])("%s", (file, content) => {
    expect(load({ [file]: content }).values.PREFECT_CLIENT_MAX_RETRIES).toBe(7);
  });

  test("unknown keys of prefect.toml are ignored with a warning each", () => {
    const { values, warnings } = load({ "prefect.toml": `[client]\nmax_retries = 7\n${foreign}` });
    expect(values.PREFECT_CLIENT_MAX_RETRIES).toBe(7);
    expect(warnings.join("\n")).toContain("tool");
  });

  test("an integer above 2 ** 53 is a value too, and keeps its digits for flow runs", () => {
    const settings = load({ "prefect.toml": "[runner]\nprocess_limit = 9223372036854775807" });
    expect(settings.exported).toMatchObject({ PREFECT_RUNNER_PROCESS_LIMIT: "9223372036854775807" });
    expect(settings.origins.get("PREFECT_RUNNER_PROCESS_LIMIT")?.raw).toBe("9223372036854775807");
  });

  test("an integer above 2 ** 53 where a text belongs is an error of one line", () => {
    expect(() => load({ "prefect.toml": "[api]\nurl = 9223372036854775807" })).toThrow(
      /^PREFECT_API_URL, from prefect\.toml \[api\] url: found "9223372036854775807", expected a string$/,
    );
  });
});

test("settings of integrations come from all sources, and are no unknown settings", () => {
  const name = (end: string) => `PREFECT_INTEGRATIONS_KUBERNETES_${end}`;
  const files = {
    ".env": `${name("DOTENV")}=a\n${name("ALL")}=2`,
    "prefect.toml": `[integrations.kubernetes]\nall = "3"\ntoml = true\n[integrations.kubernetes.observer]\nnamespaces = ["a", "b"]`,
    "pyproject.toml": `[tool.prefect.integrations.kubernetes]\nall = "4"\npyproject = 7`,
    ...profile(`${name("ALL")} = "5"\n${name("PROFILE")} = "p"`),
  };
  const { integrations, warnings } = load(files, { [name("ALL")]: "1" });
  expect(integrations).toEqual({
    [name("ALL")]: "1",
    [name("DOTENV")]: "a",
    [name("TOML")]: "True",
    [name("OBSERVER_NAMESPACES")]: "a,b",
    [name("PYPROJECT")]: "7",
    [name("PROFILE")]: "p",
  });
  expect(warnings.filter((text) => text.includes("Unknown"))).toEqual([]);
});
