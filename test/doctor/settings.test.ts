// What `lictor doctor` says about settings and files, before it asks any server.
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { correctedUrl, findUrlMistakes } from "../../src/doctor/api-url.ts";
import { inCheckout } from "../support/checkout.ts";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { findFreePort } from "../support/free-port.ts";
import { runLictor } from "../support/lictor.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { runDoctor } from "./run-doctor.ts";

/** A folder with these files, and the environment that makes lictor find them. */
async function makeFiles(files: Record<string, string>) {
  const directory = await makeTemporaryDirectory();
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(directory.path, name, ".."), { recursive: true });
    await writeFile(join(directory.path, name), text, { mode: 0o600 });
  }
  const closedPort = await findFreePort();
  const env = {
    PREFECT_HOME: join(directory.path, "home"),
    PREFECT_API_URL: `http://127.0.0.1:${closedPort}/api`,
  };
  return { cwd: directory.path, env, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

const profiles = `active = "prod"
[profiles.prod]
PREFECT_API_KEY = "pnu_marked_profile_key_4444"
PREFECT_API_AUTH_STRING = "operator:marked-secret-1"
`;

test("every credential is shown with its origin and what it hides, and never in clear", async () => {
  await using files = await makeFiles({
    "home/profiles.toml": profiles,
    ".env": "PREFECT_API_KEY=pnu_marked_dotenv_key_3333\n",
    "key.txt": "pnu_marked_file_key_5555\n",
  });
  const env = {
    ...files.env,
    PREFECT_API_URL: files.env.PREFECT_API_URL.replace("//", "//someone:marked-secret-2@"),
    PREFECT_API_KEY_FILE: join(files.cwd, "key.txt"),
    PREFECT_CLIENT_CUSTOM_HEADERS: '{"X-Gate":"marked-secret-3","authorization":"marked-secret-4"}',
    HTTP_PROXY: `http://proxy-user:marked-secret-5@127.0.0.1:${await findFreePort()}`,
  };
  const diagnosis = await runDoctor(env, [], { cwd: files.cwd });
  const profilesFile = join(files.cwd, "home/profiles.toml");
  expect(diagnosis.find("profile").message).toBe(`"prod", chosen by \`active\` in the file; ${profilesFile} is read`);
  expect(diagnosis.find("PREFECT_API_KEY").message).toBe(
    `24 characters, the last 5555, from file ${env.PREFECT_API_KEY_FILE} (PREFECT_API_KEY_FILE from the environment)` +
      `; hides the one from .env, and the one from profile "prod" in ${profilesFile}`,
  );
  expect(diagnosis.find("PREFECT_API_AUTH_STRING").message).toContain("user operator, from profile");
  expect(diagnosis.find("PREFECT_CLIENT_CUSTOM_HEADERS")).toMatchObject({
    status: "warn",
    message: "X-Gate, authorization, from the environment",
    advice: expect.stringContaining("instead of the key or auth string"),
  });
  expect(diagnosis.find("proxy").message).toMatch(/^http:\/\/127\.0\.0\.1:\d+, named by HTTP_PROXY$/);
  expect(diagnosis.output).not.toContain("marked");
});

describe("slips", () => {
  test.each([
    [
      "a profile that does not exist",
      { PREFECT_PROFILE: "nowhere" },
      "profile",
      /^"nowhere", chosen by PREFECT_PROFILE;/,
    ],
    ["an auth string without a colon", { PREFECT_API_AUTH_STRING: "marked-abc" }, "PREFECT_API_AUTH_STRING", /unknown/],
    ["a URL without /api", { PREFECT_API_URL: "http://127.0.0.1:1" }, "API URL", /does not end in \/api/],
  ])("%s is a warning", async (_, env, name, message) => {
    const diagnosis = await runDoctor({ PREFECT_API_URL: "http://127.0.0.1:1/api", ...env });
    expect(diagnosis.find(name)).toMatchObject({ status: "warn", message: expect.stringMatching(message) });
    expect(diagnosis.find(name).advice).not.toBeNull();
    expect(diagnosis.named("warn")).toEqual([name]);
    expect(diagnosis.output).not.toContain("marked");
  });

  test("a URL that is missing is told with the way to set it", async () => {
    const diagnosis = await runDoctor({});
    expect(diagnosis.named("fail")).toEqual(["credentials"]);
    expect(diagnosis.find("credentials").message).toContain("`PREFECT_API_URL` must be set");
    expect(diagnosis.find("TCP").message).toBe("not looked at, because credentials failed");
  });

  test("settings that cannot be read are one finding", async () => {
    await using files = await makeFiles({ "home/profiles.toml": "[profiles.prod\nPREFECT_API_KEY = 'marked'" });
    const diagnosis = await runDoctor(files.env);
    expect(diagnosis.named("fail")).toEqual(["settings"]);
    expect(diagnosis.find("settings").message).toMatch(/^Cannot read .*profiles\.toml: invalid TOML/);
    expect(diagnosis.output).not.toContain("marked");
  });

  test.each([["0"], ["-1"], ["soon"], ["1e9"]])("--timeout %s is refused", async (seconds) => {
    expect(await runLictor(["doctor", "--timeout", seconds])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Expected a number of seconds above 0."),
    });
  });
});

test("files with secrets that others may read are a warning", async () => {
  await using files = await makeFiles({ "home/profiles.toml": profiles, "prefect.toml": "[api]\nkey = 'marked'\n" });
  const find = async () => (await runDoctor(files.env, [], { cwd: files.cwd })).find("file permissions");
  expect((await find()).status).toBe("pass");
  await chmod(join(files.cwd, "home/profiles.toml"), 0o644);
  await chmod(join(files.cwd, "prefect.toml"), 0o644);
  expect(await find()).toMatchObject({
    status: "warn",
    advice: expect.stringMatching(/^chmod 600 .*profiles\.toml .*prefect\.toml$/),
  });
});

test.each(["doctor", "version", "--help"])("%s ends quietly when nobody reads its output", async (command) => {
  const line = `"${process.execPath}" "${inCheckout("bin/lictor.js")}" ${command} | true`;
  expect((await runCommand("sh", ["-c", line], { env: cleanEnvironment() })).stderr).toBe("");
});

describe("PREFECT_API_URL", () => {
  const cloud = "https://api.prefect.cloud/api";
  const workspace = `${cloud}/accounts/a/workspaces/w`;
  test.each([
    ["http://127.0.0.1:4200/api", [], "http://127.0.0.1:4200/api"],
    ["https://prefect.example.com/base/api/", [], "https://prefect.example.com/base/api"],
    ["http://127.0.0.1:4200", [/does not end in \/api/], "http://127.0.0.1:4200/api"],
    ["http://u:p@127.0.0.1:4200/base/", [/does not end in \/api/], "http://127.0.0.1:4200/base/api"],
    [workspace, [], workspace],
    [cloud, [/no workspace/], `${cloud}/accounts/ACCOUNT_ID/workspaces/WORKSPACE_ID`],
    ["https://app.prefect.cloud/account/a/workspace/w/dashboard", [], workspace],
    ["https://api.prefect.cloud/accounts/a/workspaces/w", [], workspace],
    [workspace.replace("https", "http"), [/http:\/\/ shows the key/], workspace],
  ])("%s is read as it was meant", (text, slips, corrected) => {
    expect(findUrlMistakes(text, cloud).map(({ what }) => what)).toEqual(
      slips.map((slip) => expect.stringMatching(slip)),
    );
    expect(correctedUrl(text, cloud)).toBe(corrected);
  });

  test.each([
    ["https://app.prefect.cloud/account/a/workspace/w", "warn", /app\.prefect\.cloud is the UI.*\/accounts\//],
    ["http://api.prefect.cloud/api/accounts/a/workspaces/w", "fail", /^http:\/\/ shows the key/],
  ])("%s is told with its correction", async (url, status, message) => {
    const env = { PREFECT_API_URL: url, HTTP_PROXY: "http://127.0.0.1:1", HTTPS_PROXY: "http://127.0.0.1:1" };
    expect((await runDoctor(env)).find("API URL")).toMatchObject({
      status,
      message: expect.stringMatching(message),
      advice: `Try PREFECT_API_URL=${workspace}`,
    });
  });
});
