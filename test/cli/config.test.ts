// `lictor config set|unset|validate`: what it says, what it writes, and what it leaves alone.
import { chmod, readdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { runPrefectCommands } from "../support/prefect-commands.ts";
import { makeHome } from "./home.ts";

const PROFILES = ".prefect/profiles.toml";
const URL = "http://127.0.0.1:4200/api";

describe("config set", () => {
  test("writes a new file with the built-in profile in use, for nobody else to read", async () => {
    await using home = await makeHome();
    expect(await home.lictor(["config", "set", `PREFECT_API_URL=${URL}`])).toEqual({
      code: 0,
      stdout: `Set 'PREFECT_API_URL' to '${URL}'.\nUpdated profile 'ephemeral'.\n`,
      stderr: "",
    });
    expect(await home.readProfiles()).toBe(
      `active = "ephemeral"\n\n[profiles.ephemeral]\nPREFECT_SERVER_EPHEMERAL_ENABLED = "true"\nPREFECT_API_URL = "${URL}"\n`,
    );
    expect(await home.modes()).toEqual(["600", "700"]);
    expect(await readdir(join(home.path, ".prefect"))).toEqual(["profiles.toml"]);
  });

  test("leaves the rest of the file as it is, and closes it to others", async () => {
    const text = (value: string, added = "") =>
      `# mine\nactive = "b" # really\n\n# first\n[profiles.a]\nX = 1 # unknown\n\n[profiles.b]\nPREFECT_DEBUG_MODE = ${value} # why\n${added}# end\n`;
    await using home = await makeHome({ [PROFILES]: text("true") });
    await chmod(home.profilesFile, 0o644);
    const { code } = await home.lictor(["config", "set", "PREFECT_DEBUG_MODE=no", "PREFECT_API_URL=http://a=b/api"]);
    expect(code).toBe(0);
    expect(await home.readProfiles()).toBe(text('"no"', 'PREFECT_API_URL = "http://a=b/api"\n'));
    expect((await home.modes())[0]).toBe("600");
  });

  test("writes the canonical name for an older one, masks secrets, and tells of variables that come first", async () => {
    await using home = await makeHome({ [PROFILES]: 'active = "a"\n[profiles.a]\nPREFECT_TEST_MODE = "0"\n' });
    const set = await home.lictor(
      [
        "config",
        "set",
        "PREFECT_TEST_MODE=false",
        "PREFECT_API_KEY=pnu_marked_81c",
        "PREFECT_API_AUTH_STRING=a:marked",
      ],
      { PREFECT_API_KEY: "pnu_other" },
    );
    expect(set.stdout).toContain("Set 'PREFECT_TEST_MODE' to 'false'.\nSet 'PREFECT_API_KEY' to '********'.\n");
    expect(set.stdout).toContain("PREFECT_API_KEY is also set by an environment variable");
    expect(set.stdout + set.stderr).not.toContain("marked");
    expect(await home.readProfiles()).toBe(
      'active = "a"\n[profiles.a]\nPREFECT_TESTING_TEST_MODE = "false"\nPREFECT_API_KEY = "pnu_marked_81c"\nPREFECT_API_AUTH_STRING = "a:marked"\n',
    );
  });

  test.each([
    [["A"], "Failed to parse argument 'A'. Use the format 'VAR=VAL'."],
    [["PREFECT_NO_SUCH=1"], "Unknown setting name 'PREFECT_NO_SUCH'."],
    [["prefect_api_url=1"], "Unknown setting name 'prefect_api_url'."],
    [["PREFECT_HOME=/x"], "Setting 'PREFECT_HOME' cannot be changed with this command."],
    [["PREFECT_PROFILES_PATH=/x"], "Setting 'PREFECT_PROFILES_PATH' cannot be changed with this command."],
    [[`PREFECT_API_URL=${URL}`, "PREFECT_WORKER_QUERY_SECONDS=soon"], "found 'soon', expected a number"],
    [["PREFECT_FLOWS_HEARTBEAT_FREQUENCY=29"], "expected an integer of at least 30"],
  ])("refuses %j in one line and writes nothing", async (assignments, message) => {
    await using home = await makeHome();
    const { code, stdout, stderr } = await home.lictor(["config", "set", ...assignments]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr.trimEnd()).not.toContain("\n");
    await expect(home.readProfiles()).rejects.toThrow("ENOENT");
  });

  test("mends a profile that nothing can be loaded from, and makes no profile of a mistyped name", async () => {
    await using home = await makeHome({ [PROFILES]: '[profiles.a]\nPREFECT_WORKER_QUERY_SECONDS = "soon"\n' });
    expect((await home.lictor(["-p", "a", "config", "view"])).code).toBe(1);
    expect((await home.lictor(["-p", "a", "config", "set", "PREFECT_WORKER_QUERY_SECONDS=1"])).code).toBe(0);
    expect((await home.lictor(["-p", "a", "config", "view"])).code).toBe(0);
    for (const env of [{ PREFECT_PROFILE: "typo" }]) {
      const { code, stderr } = await home.lictor(["config", "set", "PREFECT_DEBUG_MODE=1"], env);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^Profile 'typo' not found in .*\n$/)]);
    }
  });

  test("loses nothing when 20 write at once, over the lock of one that was killed too", async () => {
    await using home = await makeHome({ [PROFILES]: 'active = "a"\n[profiles.a]\n' });
    await writeFile(`${home.profilesFile}.lock`, "");
    await utimes(`${home.profilesFile}.lock`, 0, 0);
    const ports = Array.from({ length: 20 }, (_, index) => ({ name: NAMES[index] ?? "", value: String(1000 + index) }));
    const results = await Promise.all(
      ports.map(({ name, value }) => home.lictor(["config", "set", `${name}=${value}`])),
    );
    expect(results.filter(({ code }) => code !== 0)).toEqual([]);
    const { stdout } = await home.lictor(["config", "view", "-o", "json"]);
    const { settings } = JSON.parse(stdout) as { settings: { name: string; value: string; source: string }[] };
    expect(settings.filter(({ source }) => source === "profile").map(({ name, value }) => ({ name, value }))).toEqual(
      ports.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    );
    expect(await readdir(join(home.path, ".prefect"))).toEqual(["profiles.toml"]);
  });

  test("replaces what a link leads to, and leaves the link", async () => {
    await using home = await makeHome({ "dotfiles/profiles.toml": 'active = "a"\n[profiles.a]\n', ".prefect/x": "" });
    await symlink("../dotfiles/profiles.toml", home.profilesFile);
    expect((await home.lictor(["config", "set", "PREFECT_DEBUG_MODE=1"])).code).toBe(0);
    expect(await home.readProfiles()).toContain("PREFECT_DEBUG_MODE");
    expect((await home.lictor(["config", "view"])).stdout).toContain("PREFECT_DEBUG_MODE='1' (from profile)");
  });
});

describe("config unset", () => {
  test("removes what is set, by any of its names, and refuses what is not", async () => {
    await using home = await makeHome({
      [PROFILES]: 'active = "a"\n[profiles.a]\n# kept\nPREFECT_TEST_MODE = "0" # gone\nPREFECT_DEBUG_MODE = "0"\n',
    });
    const unset = await home.lictor(["config", "unset", "PREFECT_TESTING_TEST_MODE", "PREFECT_DEBUG_MODE"], {
      PREFECT_DEBUG_MODE: "1",
    });
    expect(unset).toMatchObject({ code: 0, stderr: "" });
    expect(unset.stdout).toMatch(
      /^Unset 'PREFECT_TESTING_TEST_MODE'\.\nUnset 'PREFECT_DEBUG_MODE'\.\nPREFECT_DEBUG_MODE is also set by .*\nUpdated profile 'a'\.\n$/,
    );
    expect(await home.readProfiles()).toBe('active = "a"\n[profiles.a]\n# kept\n');
    const again = await home.lictor(["config", "unset", "PREFECT_DEBUG_MODE", "-y"]);
    expect(again).toEqual({ code: 1, stdout: "", stderr: "'PREFECT_DEBUG_MODE' is not set in profile 'a'.\n" });
    expect((await home.lictor(["config", "unset", "X"])).stderr).toBe("Unknown setting name 'X'.\n");
  });
});

describe("config validate", () => {
  test("gives settings their current names", async () => {
    await using home = await makeHome({ [PROFILES]: "active = 'a'\n[profiles.a]\nPREFECT_TEST_MODE = false # old\n" });
    expect(await home.lictor(["config", "validate"])).toEqual({
      code: 0,
      stdout: "Configuration valid!\n",
      stderr: "",
    });
    expect(await home.readProfiles()).toBe("active = 'a'\n[profiles.a]\nPREFECT_TESTING_TEST_MODE = false # old\n");
  });

  test("says all that is wrong in a profile, or what is wrong elsewhere", async () => {
    await using home = await makeHome({
      [PROFILES]: "active = 'a'\n[profiles.a]\nPREFECT_DEBUG_MODE = 'x'\nPREFECT_CLIENT_MAX_RETRIES = -1\n",
    });
    const { code, stderr } = await home.lictor(["config", "validate"]);
    expect(code).toBe(1);
    expect(stderr.trim().split("\n")).toEqual([
      expect.stringMatching(/^PREFECT_DEBUG_MODE, from profile "a" .*: found "x", expected true or false$/),
      expect.stringMatching(/^PREFECT_CLIENT_MAX_RETRIES, .* of at least 0$/),
    ]);
    const elsewhere = await home.lictor(["config", "validate"], { PREFECT_PROFILE: "cloud", PREFECT_DEBUG_MODE: "?" });
    expect(elsewhere).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^PREFECT_DEBUG_MODE, from the environment.*\n$/),
    });
  });
});

test("config view hides secrets where Prefect shows them, and names a file that one comes from", async () => {
  await using home = await makeHome({ key: "pnu_marked_in_file\n" });
  await chmod(join(home.path, "key"), 0o600);
  const env = {
    PREFECT_API_URL: "http://marked:marked@h/api",
    PREFECT_CLIENT_CUSTOM_HEADERS: '{"X-Key":"marked"}',
    PREFECT_API_KEY_FILE: join(home.path, "key"),
  };
  const hidden = await home.lictor(["config", "view"], env);
  expect(hidden.stdout + hidden.stderr).not.toContain("marked");
  expect(hidden.stdout).toContain("PREFECT_API_KEY='********' (from secret file)\n");
  expect(hidden.stdout).toContain(`PREFECT_API_KEY_FILE='${home.path}/key' (from env)\n`);
  const shown = await home.lictor(["config", "view", "--show-secrets"], env);
  expect(shown.stdout).toContain("PREFECT_API_URL='http://marked:marked@h/api' (from env)\n");
});

test("what lictor writes is read by Prefect, and the other way round", async () => {
  await using home = await makeHome({ [PROFILES]: '# mine\nactive = "a b"\n[profiles."a b"]\n' });
  const python = inject("python");
  const value = 'http://h/"\\é/api';
  await home.lictor(["config", "set", `PREFECT_API_URL=${value}`, "PREFECT_API_KEY=k", "PREFECT_CLIENT_MAX_RETRIES=3"]);
  await home.lictor(["profile", "create", "new", "--from", "a b"]);
  await home.lictor(["profile", "use", "cloud"]);
  const view = ["config", "view", "--show-secrets"];
  const profiles = [{ PREFECT_PROFILE: "a b" }, { PREFECT_PROFILE: "new" }, {}];
  const [first, second, third] = await runPrefectCommands(
    python,
    profiles.map((env) => home.prefect(view, env)),
  );
  for (const result of [first, second]) {
    expect(result?.stdout).toContain(`PREFECT_API_URL='${value}' (from profile)`);
    expect(result?.stdout).toContain("PREFECT_API_KEY='k' (from profile)");
  }
  expect(third?.stdout).toContain("PREFECT_PROFILE='cloud'");

  await runPrefectCommands(python, [
    home.prefect(["config", "set", "PREFECT_API_URL=http://p/api", "PREFECT_TEST_SETTING=x y"], {
      PREFECT_PROFILE: "new",
    }),
    home.prefect(["profile", "create", "py"]),
  ]);
  const seen = await home.lictor(["config", "view"], { PREFECT_PROFILE: "new" });
  expect(seen.stdout).toContain("PREFECT_API_URL='http://p/api' (from profile)");
  expect(seen.stdout).toContain("PREFECT_TESTING_TEST_SETTING='x y' (from profile)");
  expect((await home.lictor(["profile", "ls"])).stdout).toMatch(/\* cloud[\s\S]* {2}py\n/);
});

const NAMES = [
  "PREFECT_WORKER_QUERY_SECONDS",
  "PREFECT_WORKER_HEARTBEAT_SECONDS",
  "PREFECT_WORKER_PREFETCH_SECONDS",
  "PREFECT_WORKER_CANCELLATION_POLL_SECONDS",
  "PREFECT_WORKER_WEBSERVER_PORT",
  "PREFECT_CLIENT_MAX_RETRIES",
  "PREFECT_CLIENT_METRICS_PORT",
  "PREFECT_CLIENT_RETRY_JITTER_FACTOR",
  "PREFECT_API_REQUEST_TIMEOUT",
  "PREFECT_CLOUD_MAX_LOG_SIZE",
  "PREFECT_RUNNER_POLL_FREQUENCY",
  "PREFECT_RUNNER_PROCESS_LIMIT",
  "PREFECT_RUNNER_SERVER_PORT",
  "PREFECT_FLOWS_HEARTBEAT_FREQUENCY",
  "PREFECT_FLOWS_DEFAULT_RETRIES",
  "PREFECT_TASKS_DEFAULT_RETRIES",
  "PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE",
  "PREFECT_SERVER_API_PORT",
  "PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES",
  "PREFECT_LOGGING_TO_API_BATCH_INTERVAL",
];
