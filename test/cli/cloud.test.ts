// `lictor cloud …` against a gateway that answers as Prefect Cloud does.
import { randomUUID } from "node:crypto";
import { describe, expect, inject, test } from "vitest";
import { runInTerminal } from "../support/in-terminal.ts";
import { runPrefectCommands } from "../support/prefect-commands.ts";
import { type ProxyOptions, type ReverseProxy, startReverseProxy } from "../support/reverse-proxy.ts";
import { makeHome } from "./home.ts";

const PROFILES = ".prefect/profiles.toml";
const HANDLE = "test-account/test-workspace";
const cloud = { key: "pnu_marked_key_9a4", accountId: randomUUID(), workspaceId: randomUUID() };

/** A gateway, and the workspaces that it answers with instead of its only one. */
function startGateway(handles?: readonly string[]): Promise<ReverseProxy> {
  const workspaces = handles?.map((handle) => ({
    account_id: randomUUID(),
    account_name: "A",
    account_handle: handle.split("/")[0],
    workspace_id: randomUUID(),
    workspace_name: "W",
    workspace_description: "",
    workspace_handle: handle.split("/")[1],
  }));
  const onRequest: ProxyOptions["onRequest"] = ({ path }) =>
    workspaces && path.endsWith("/me/workspaces")
      ? { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(workspaces) }
      : undefined;
  return startReverseProxy(inject("apiUrl"), { cloud, onRequest });
}

describe("cloud login", () => {
  test("writes key and workspace into the profile in use, where Prefect finds them; logout takes them away", {
    timeout: 120_000,
  }, async () => {
    await using gateway = await startGateway();
    await using home = await makeHome({ [PROFILES]: '# mine\nactive = "a"\n[profiles.a]\nPREFECT_DEBUG_MODE = "0"\n' });
    const env = { PREFECT_CLOUD_API_URL: gateway.cloudApiUrl };
    expect(await home.lictor(["cloud", "login", "-k", cloud.key, "-w", HANDLE], env)).toEqual({
      code: 0,
      stdout: `Authenticated with Prefect Cloud! Using workspace '${HANDLE}'.\n`,
      stderr: "",
    });
    expect(await home.readProfiles()).toBe(
      `# mine\nactive = "a"\n[profiles.a]\nPREFECT_DEBUG_MODE = "0"\nPREFECT_API_KEY = "${cloud.key}"\nPREFECT_API_URL = "${gateway.apiUrl}"\n`,
    );
    expect(await home.modes()).toEqual(["600", "755"]);
    const [view] = await runPrefectCommands(inject("python"), [
      home.prefect(["config", "view", "--show-secrets"], env),
    ]);
    expect(view?.stdout).toContain(`PREFECT_API_KEY='${cloud.key}' (from profile)`);
    expect(view?.stdout).toContain(`PREFECT_API_URL='${gateway.apiUrl}' (from profile)`);
    expect(await home.lictor(["profile", "use", "a"], env)).toMatchObject({
      stderr: "",
      code: 0,
      stdout: "Connected to Prefect Cloud using profile 'a'\n",
    });
    expect(await home.lictor(["cloud", "logout"])).toMatchObject({
      code: 0,
      stdout: "Logged out from Prefect Cloud.\n",
    });
    expect(await home.readProfiles()).toBe('# mine\nactive = "a"\n[profiles.a]\nPREFECT_DEBUG_MODE = "0"\n');
    expect(await home.lictor(["cloud", "logout"])).toEqual({
      code: 1,
      stdout: "",
      stderr: "Current profile is not logged into Prefect Cloud.\n",
    });
  });

  test.each<[string, string[], Record<string, string>, RegExp]>([
    ["without a key", ["-w", HANDLE], {}, /^When not using an interactive terminal, you must supply a `--key`/],
    ["without a workspace", ["-k", cloud.key], {}, /^When not using an interactive terminal/],
    [
      "with a wrong key",
      ["-k", "pnu_marked_wrong", "-w", HANDLE],
      {},
      /^Unable to authenticate .* correct and unexpired\.$/,
    ],
    ["with a key of another kind", ["-k", "marked_odd", "-w", HANDLE], {}, /format: 'pnu_' or 'pnb_'\.$/],
    [
      "with a key that no header takes",
      ["-k", "pnu_mar\u00e9ked", "-w", HANDLE],
      {},
      /^PREFECT_API_KEY, from the command line/,
    ],
    [
      "with a workspace of others",
      ["-k", cloud.key, "-w", "a/b"],
      {},
      /^Workspace 'a\/b' not found\. Available workspaces: 'test-account\/test-workspace'$/,
    ],
    [
      "with another key in the environment",
      ["-k", cloud.key, "-w", HANDLE],
      { PREFECT_API_KEY: "pnu_marked" },
      /^Cannot log in: .* PREFECT_API_KEY/,
    ],
    [
      "with a mistyped profile",
      ["-k", cloud.key, "-w", HANDLE],
      { PREFECT_PROFILE: "typo" },
      /Profile 'typo' not found/,
    ],
  ])("is refused %s: exit 1, nothing written, no secret shown", async (_what, args, env, message) => {
    await using gateway = await startGateway();
    await using home = await makeHome();
    const result = await home.lictor(["cloud", "login", ...args], {
      PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
      ...env,
    });
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr.trimEnd().split("\n").at(-1)).toMatch(message);
    expect(result.stderr).not.toMatch(/marked/);
    await expect(home.readProfiles()).rejects.toThrow("ENOENT");
  });

  test("asks on a terminal for the key, which stays invisible, and for the workspace", async () => {
    await using gateway = await startGateway(["b/two", "a/one", "b/one"]);
    await using home = await makeHome();
    const env = home.env({ PREFECT_CLOUD_API_URL: gateway.cloudApiUrl });
    const { code, output } = await runInTerminal(inject("python"), ["cloud", "login"], {
      env,
      cwd: home.path,
      dialogue: [
        ["Paste your API key: ", `${cloud.key}\r`],
        ["Number (1 to 3): ", "4\r"],
        ["Number (1 to 3): ", "2\r"],
      ],
    });
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(output).toMatch(/ 1 {2}a\/one\r\n {3}2 {2}b\/one\r\n {3}3 {2}b\/two\r\n/);
    expect(output).toContain("Using workspace 'b/one'.");
    expect(output).not.toContain("marked");
    expect(await home.readProfiles()).toContain(`PREFECT_API_KEY = "${cloud.key}"`);

    const again = await runInTerminal(inject("python"), ["cloud", "login", "-w", "a/one"], {
      env,
      cwd: home.path,
      dialogue: [["reauthenticate?", "\r"]],
    });
    expect(again.output).toContain("Using workspace 'a/one'.");
    const aborted = await runInTerminal(inject("python"), ["cloud", "login"], {
      env,
      cwd: home.path,
      dialogue: [
        ["reauthenticate?", "y\r"],
        ["Paste your API key: ", "half a key\u0003"],
      ],
    });
    expect(aborted).toMatchObject({ code: 1, output: expect.stringContaining("Aborted.") });
    expect(aborted.output).not.toContain("half a key");
  });
});

describe("cloud workspace", () => {
  test("ls lists what the key can enter, set writes the address of one", async () => {
    await using gateway = await startGateway(["b/two", "a/one"]);
    await using home = await makeHome();
    const env = { PREFECT_CLOUD_API_URL: gateway.cloudApiUrl, PREFECT_API_KEY: cloud.key };
    const set = await home.lictor(["cloud", "workspace", "set", "-w", "b/two"], env);
    expect(set).toEqual({
      code: 0,
      stdout: "Successfully set workspace to 'b/two' in profile 'ephemeral'.\n",
      stderr: "",
    });
    expect((await home.lictor(["cloud", "workspace", "ls"], env)).stdout).toBe(
      "Workspaces:\n    a/one\n  * b/two\n* active workspace\n",
    );
    const { stdout } = await home.lictor(["cloud", "workspaces", "ls", "-o", "json"], env);
    expect(JSON.parse(stdout)).toMatchObject([
      { account_handle: "a", workspace_handle: "one" },
      { account_handle: "b", workspace_handle: "two" },
    ]);
    expect(await home.lictor(["cloud", "workspace", "set", "-w", "c/x"], env)).toMatchObject({ code: 1, stdout: "" });
    expect(await home.lictor(["cloud", "workspace", "set"], env)).toMatchObject({ code: 1, stdout: "" });
    const picked = await runInTerminal(inject("python"), ["cloud", "workspace", "set"], {
      env: home.env(env),
      cwd: home.path,
      dialogue: [["Number (1 to 2): ", "1\r"]],
    });
    expect(picked).toMatchObject({ code: 0, output: expect.stringContaining("workspace to 'a/one'") });
  });

  test("without a key, or with a wrong one, says what to do", async () => {
    await using gateway = await startGateway();
    await using home = await makeHome();
    const env = { PREFECT_CLOUD_API_URL: gateway.cloudApiUrl };
    expect(await home.lictor(["cloud", "workspace", "ls"], env)).toEqual({
      code: 1,
      stdout: "",
      stderr: "Currently not authenticated in profile 'ephemeral'. Please log in with `lictor cloud login`.\n",
    });
    const wrong = await home.lictor(["cloud", "workspace", "ls"], { ...env, PREFECT_API_KEY: "pnu_marked_wrong" });
    expect(wrong).toMatchObject({ code: 1, stdout: "" });
    expect(wrong.stderr).toMatch(/^GET \/me\/workspaces: 401.*PREFECT_API_KEY from the environment.*\n$/);
    expect(wrong.stderr).not.toContain("marked");
  });

  test("with no workspace at all says where to make one", async () => {
    await using gateway = await startGateway([]);
    await using home = await makeHome();
    const env = home.env({ PREFECT_CLOUD_API_URL: gateway.cloudApiUrl });
    const { code, output } = await runInTerminal(inject("python"), ["cloud", "login", "-k", cloud.key], {
      env,
      cwd: home.path,
      dialogue: [],
    });
    expect([code, output]).toEqual([1, expect.stringContaining("No workspaces found!")]);
  });
});
