// `lictor profile …`: the file before and after, and what is said.
import { copyFile, readFile } from "node:fs/promises";
import { describe, expect, inject, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import { runInTerminal } from "../support/in-terminal.ts";
import { makeHome, type UserHome } from "./home.ts";

const PROFILES = ".prefect/profiles.toml";
const TWO = `# mine
active = "a"

# first
[profiles.a]
PREFECT_API_KEY = "pnu_marked_51f" # key

# second
[profiles.b]
PREFECT_DEBUG_MODE = true
`;

/** One line on standard error, nothing else, exit 1. */
async function expectRefusal(home: UserHome, args: readonly string[], message: string): Promise<void> {
  const before = await home.readProfiles();
  expect(await home.lictor(["profile", ...args])).toEqual({ code: 1, stdout: "", stderr: `${message}\n` });
  expect(await home.readProfiles()).toBe(before);
}

test("ls marks the profile in use, and is a JSON list for scripts", async () => {
  await using home = await makeHome({ [PROFILES]: TWO });
  expect((await home.lictor(["profile", "ls"])).stdout).toBe("Available Profiles:\n  * a\n    b\n* active profile\n");
  const { stdout } = await home.lictor(["profiles", "ls", "-o", "JSON"], { PREFECT_PROFILE: "b" });
  expect(JSON.parse(stdout)).toEqual([
    { name: "a", active: false },
    { name: "b", active: true },
  ]);
  expect(await home.lictor(["profile", "ls", "-o", "yaml"])).toMatchObject({ code: 1, stdout: "" });
});

test("create adds an empty profile or a copy, and never a second one", async () => {
  await using home = await makeHome({ [PROFILES]: TWO });
  expect((await home.lictor(["profile", "create", "c"])).stdout).toContain("name - 'c'\n    from name - None\n");
  expect((await home.lictor(["profile", "create", "d e", "--from", "b"])).code).toBe(0);
  expect(await home.readProfiles()).toBe(`${TWO}\n[profiles.c]\n\n[profiles."d e"]\nPREFECT_DEBUG_MODE = "True"\n`);
  await expectRefusal(home, ["create", "c"], "Profile 'c' already exists. `lictor profile delete` removes it.");
  await expectRefusal(home, ["create", "f", "--from", "nobody"], "Profile 'nobody' not found.");
});

test("rename follows the active profile and tells of PREFECT_PROFILE", async () => {
  await using home = await makeHome({ [PROFILES]: TWO });
  const { code, stdout } = await home.lictor(["profile", "rename", "a", "new"], { PREFECT_PROFILE: "a" });
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout:
      "The environment variable PREFECT_PROFILE still says 'a': set it to 'new'.\nRenamed profile 'a' to 'new'.\n",
  });
  expect(await home.readProfiles()).toBe(TWO.replace('active = "a"', 'active = "new"').replace(".a]", ".new]"));
  await expectRefusal(home, ["rename", "a", "c"], "Profile 'a' not found.");
  await expectRefusal(home, ["rename", "new", "b"], "Profile 'b' already exists.");
});

test("delete takes a profile with its comments, but not the one in use", async () => {
  await using home = await makeHome({ [PROFILES]: TWO });
  await expectRefusal(home, ["delete", "a"], "Profile 'a' is the active profile. Switch to another one to delete it.");
  await expectRefusal(home, ["delete", "local"], "Profile 'local' not found.");
  expect(await home.lictor(["profile", "delete", "b"])).toMatchObject({ code: 0, stdout: "Removed profile 'b'.\n" });
  expect(await home.readProfiles()).toBe(TWO.slice(0, TWO.indexOf("# second")));
});

test("inspect shows a profile, without its secrets unless they are asked for", async () => {
  await using home = await makeHome({ [PROFILES]: `${TWO}[profiles.c]\n` });
  const inspect = async (...args: string[]) => (await home.lictor(["profile", "inspect", ...args])).stdout;
  expect(await inspect()).toBe("No name provided, defaulting to 'a'\nPREFECT_API_KEY='********'\n");
  expect(await inspect("a", "--show-secrets")).toBe("PREFECT_API_KEY='pnu_marked_51f'\n");
  expect(await inspect("b")).toBe("PREFECT_DEBUG_MODE='True'\n");
  expect(await inspect("c")).toBe("Profile 'c' is empty.\n");
  expect(JSON.parse(await inspect("c", "-o", "json"))).toEqual({});
  expect(JSON.parse(await inspect("local", "-o", "json"))).toEqual({ PREFECT_API_URL: "http://127.0.0.1:4200/api" });
  await expectRefusal(home, ["inspect", "nobody"], "Profile 'nobody' not found.");
});

describe("use", () => {
  test("switches, writes a built-in profile into the file, and says whether the server answers", async () => {
    await using home = await makeHome({
      [PROFILES]: `${TWO}[profiles.server]\nPREFECT_API_URL = "${inject("apiUrl")}"\n[profiles.nowhere]\nPREFECT_API_URL = "http://127.0.0.1:${await findFreePort()}/api"\n`,
    });
    const use = async (name: string) => await home.lictor(["profile", "use", name]);
    expect(await use("server")).toEqual({
      code: 0,
      stdout: "Connected to Prefect server using profile 'server'\n",
      stderr: "",
    });
    const away = await use("nowhere");
    expect(away).toMatchObject({ code: 1, stdout: "" });
    expect(away.stderr).toMatch(/^Error connecting to Prefect server using profile 'nowhere': .*ECONNREFUSED.*\n$/);
    expect(await home.readProfiles()).toContain('active = "nowhere"\n');
    const unset = await use("b");
    expect(unset).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Prefect server URL not configured using profile 'b'\.\n$/m),
    });
    expect(await use("ephemeral")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("No Prefect server specified"),
    });
    expect(await home.readProfiles()).toMatch(
      /^# mine\nactive = "ephemeral"\n[\s\S]*\[profiles\.ephemeral\]\nPREFECT_SERVER/,
    );
    await expectRefusal(home, ["use", "nobody"], "Profile 'nobody' not found.");
  });
});

describe("populate-defaults", () => {
  test("adds what is missing, once", async () => {
    await using home = await makeHome({ [PROFILES]: TWO });
    const { code, stdout } = await home.lictor(["profile", "populate-defaults"]);
    expect(code).toBe(0);
    expect(stdout).toContain("Add 'ephemeral'\n");
    expect(stdout).toMatch(/- a\n {2}- b\n {2}- ephemeral\n {2}- local\n {2}- test\n {2}- cloud\n$/);
    const written = await home.readProfiles();
    expect(written.startsWith(TWO)).toBe(true);
    expect((await home.lictor(["profile", "populate-defaults"])).stdout).toContain("No changes needed.");
    expect(await home.readProfiles()).toBe(written);
  });

  test("asks on a terminal", async () => {
    await using home = await makeHome({ [PROFILES]: TWO });
    await copyFile(home.profilesFile, `${home.profilesFile}.first`);
    const ask = async (...dialogue: [string, string][]) =>
      await runInTerminal(inject("python"), ["profile", "populate-defaults"], {
        env: home.env(),
        cwd: home.path,
        dialogue,
      });
    expect(await ask(["Back up", "n\r"], ["Update", "\r"])).toMatchObject({
      code: 0,
      output: expect.stringContaining("Operation cancelled."),
    });
    expect(await home.readProfiles()).toBe(TWO);
    expect(await ask(["Back up", "what\r"], ["Back up", "y\r"], ["Update", "yes\r"])).toMatchObject({ code: 0 });
    expect(await readFile(`${home.profilesFile}.bak`, "utf8")).toBe(TWO);
    expect(await home.readProfiles()).toContain("[profiles.local]");
  });
});

test("what takes something away asks on a terminal, and Ctrl-C is a no", async () => {
  await using home = await makeHome({ [PROFILES]: TWO });
  const python = inject("python");
  const options = (answer: string) => ({
    env: home.env(),
    cwd: home.path,
    dialogue: [["Are you sure", answer] as [string, string]],
  });
  for (const [answer, said] of [
    ["\r", "Deletion aborted."],
    ["\u0003", "Aborted."],
    ["\u0004", "Aborted."],
  ] as const) {
    const { code, output } = await runInTerminal(python, ["profile", "delete", "b"], options(answer));
    expect([code, output]).toEqual([1, expect.stringContaining(said)]);
  }
  expect(await home.readProfiles()).toBe(TWO);
  const unset = ["config", "unset", "PREFECT_API_KEY"];
  expect((await runInTerminal(python, unset, options("n\r"))).output).toContain("Unset aborted.");
  expect((await runInTerminal(python, unset, options("y\r"))).output).toContain("Updated profile 'a'.");
  expect((await runInTerminal(python, ["profile", "delete", "b"], options("y\r"))).code).toBe(0);
  expect(await home.readProfiles()).toBe('# mine\nactive = "a"\n\n# first\n[profiles.a]\n\n');
});
