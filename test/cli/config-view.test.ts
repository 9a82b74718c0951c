// `lictor config view` prints what `prefect config view` prints, environment by environment.
import { expect, inject, onTestFinished, test } from "vitest";
import { runPrefectCommands } from "../support/prefect-commands.ts";
import type { CommandResult } from "../support/run-command.ts";
import { makeHome } from "./home.ts";

interface Environment {
  title: string;
  env?: Record<string, string>;
  files?: Record<string, string>;
  /** Before and after `config view`. */
  before?: string[];
  after?: string[];
}

const URL = "PREFECT_API_URL";
const QUERY = "PREFECT_WORKER_QUERY_SECONDS";
const PROFILES = ".prefect/profiles.toml";
const CLOUD = "https://api.prefect.cloud/api/accounts/a/workspaces/w";
const profiles = (active: string, ...lines: string[]) => ({
  [PROFILES]: `active = "${active}"\n[profiles.${active}]\n${lines.join("\n")}\n`,
});

const environments: Environment[] = [
  { title: "nothing at all" },
  { title: "an API URL in the environment", env: { [URL]: "http://127.0.0.1:4200/api" } },
  { title: "an alias in the environment", env: { PREFECT_CLIENT_ENABLE_METRICS: "true" } },
  {
    title: "an alias and its canonical name",
    env: { PREFECT_CLIENT_ENABLE_METRICS: "true", PREFECT_CLIENT_METRICS_ENABLED: "false" },
  },
  { title: "values as they are written", env: { [QUERY]: "1e1", PREFECT_DEBUG_MODE: "oN", [URL]: "" } },
  { title: ".env", files: { ".env": `${QUERY}=7\n` } },
  { title: ".env with quotes and references", files: { ".env": `A=x\nexport ${URL}="http://\${A}:1/api" # why\n` } },
  { title: "prefect.toml", files: { "prefect.toml": "[worker]\nquery_seconds = 5\n[api]\nurl = 'http://h/api'\n" } },
  {
    title: "types in prefect.toml",
    files: {
      "prefect.toml":
        "debug_mode = false\n[client]\nretry_extra_codes = [429, 502]\n[logging]\nextra_loggers = ['a', \"it's\"]\n",
    },
  },
  { title: "dotted keys in prefect.toml", files: { "prefect.toml": "worker.webserver.port = 8_081\n" } },
  {
    title: "pyproject.toml",
    files: { "pyproject.toml": "[project]\nname='x'\n[tool.prefect.worker]\nquery_seconds=1.5\n" },
  },
  { title: "a pyproject.toml without Prefect", files: { "pyproject.toml": "[tool.other]\nx = 1\n" } },
  { title: "a profile", files: profiles("mine", `${QUERY} = "3"`, `${URL} = "http://h/api"`) },
  {
    title: "every source at once",
    env: { [QUERY]: "1" },
    files: {
      ".env": `${QUERY}=2\n${URL}=http://dotenv/api\n`,
      "prefect.toml": "[worker]\nquery_seconds = 3\nheartbeat_seconds = 31\n[api]\nurl='http://toml/api'\n",
      "pyproject.toml": "[tool.prefect.worker]\nheartbeat_seconds = 32\nprefetch_seconds = 11\n",
      ...profiles("mine", "PREFECT_WORKER_PREFETCH_SECONDS = 12", 'PREFECT_LOGGING_LEVEL = "DEBUG"'),
    },
  },
  {
    title: "an alias in a higher source than the canonical name",
    env: { PREFECT_TEST_SETTING: "x" },
    files: { "prefect.toml": "[testing]\ntest_setting = 'y'\n" },
  },
  {
    title: "PREFECT_PROFILE",
    env: { PREFECT_PROFILE: "other" },
    files: { [PROFILES]: `active = "mine"\n[profiles.mine]\n${QUERY} = 1\n[profiles.other]\n${QUERY} = 2\n` },
  },
  {
    title: "--profile, and a variable over it",
    before: ["--profile", "other"],
    env: { PREFECT_LOGGING_LEVEL: "WARNING" },
    files: {
      [PROFILES]: `[profiles.mine]\n${QUERY} = 1\n[profiles.other]\n${QUERY} = 2\nPREFECT_LOGGING_LEVEL = "INFO"\n`,
    },
  },
  {
    title: "-p",
    before: ["-p", "mine"],
    files: { [PROFILES]: `active = 'x'\n[profiles.x]\n[profiles.mine]\n${QUERY} = 1\n` },
  },
  { title: "an alias in a profile", files: profiles("mine", "PREFECT_RUNNER_HEARTBEAT_FREQUENCY = 40") },
  {
    title: "types in a profile",
    files: profiles("mine", "PREFECT_DEBUG_MODE = true", `${QUERY} = 2.5`, "PREFECT_CLIENT_MAX_RETRIES = 7"),
  },
  { title: "an empty profile", files: profiles("mine") },
  {
    title: "a profile with a quote in its name",
    files: { [PROFILES]: `active="it's"\n[profiles."it's"]\n${QUERY}=1\n` },
  },
  { title: "a built-in profile without any file", env: { PREFECT_PROFILE: "cloud", [URL]: CLOUD } },
  { title: "the address of a workspace", env: { [URL]: "https://api.prefect.cloud/api/accounts/a/workspaces/w" } },
  { title: "a UI URL", env: { [URL]: "http://h/api", PREFECT_UI_URL: "http://ui" } },
  {
    title: "secrets",
    env: { PREFECT_API_KEY: "pnu_a", PREFECT_API_DATABASE_PASSWORD: "b" },
    files: profiles("mine", 'PREFECT_API_AUTH_STRING = "a:b"', 'PREFECT_SERVER_API_AUTH_STRING = "c:d"'),
  },
  { title: "shown secrets", env: { PREFECT_API_KEY: "pnu_a" }, after: ["--show-secrets"] },
  {
    title: "hidden sources",
    env: { [QUERY]: "3" },
    files: profiles("mine", "PREFECT_DEBUG_MODE = true"),
    after: ["--hide-sources"],
  },
  {
    title: "JSON",
    env: { [URL]: "http://h/api", PREFECT_API_KEY: "é" },
    files: profiles("mine", `${QUERY} = 2`),
    after: ["-o", "json"],
  },
  { title: "JSON without sources", env: { [QUERY]: "3" }, after: ["--output", "json", "--hide-sources"] },
  {
    title: "what only the server reads",
    env: { PREFECT_SERVER_API_HOST: "0.0.0.0", PREFECT_API_SERVICES_SCHEDULER_LOOP_SECONDS: "5" },
  },
  {
    title: "unknown names",
    env: { PREFECT_NO_SUCH: "1" },
    files: { ".env": "PREFECT_NEITHER=1\n", "prefect.toml": "[no]\nx = 1\n" },
  },
  {
    title: "PREFECT_PROFILES_PATH",
    env: { PREFECT_PROFILES_PATH: "other.toml" },
    files: { "other.toml": `active='o'\n[profiles.o]\n${QUERY}=4\n` },
  },
  {
    title: "defaults",
    env: { [URL]: "http://h/api" },
    files: profiles("mine", `${QUERY} = 2`),
    after: ["--show-defaults"],
  },
  { title: "defaults without any source", after: ["--show-defaults", "--hide-sources"] },
];

test("is the same for each environment", async () => {
  const cases = await Promise.all(
    environments.map(async ({ title, files, env, before = [], after = [] }) => {
      const home = await makeHome(files);
      onTestFinished(() => home[Symbol.asyncDispose]());
      return { title, home, env, args: [...before, "config", "view", ...after] };
    }),
  );
  const prefect = runPrefectCommands(
    inject("python"),
    cases.map(({ home, args, env }) => home.prefect(args, env)),
  );
  const shown = (title: string, result: CommandResult | undefined) => ({
    title,
    code: result?.code,
    lines: result?.stdout.split("\n"),
  });
  const actual = [];
  for (const { title, home, args, env } of cases) actual.push(shown(title, await home.lictor(args, env)));
  const expected = await prefect;
  expect(actual).toEqual(cases.map(({ title }, index) => shown(title, expected[index])));
});
