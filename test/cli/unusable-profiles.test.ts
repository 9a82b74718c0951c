// What commands say of a profiles.toml that they cannot read or write.
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inCheckout } from "../support/checkout.ts";
import { runLictor } from "../support/lictor.ts";
import { makeHome } from "./home.ts";

const PROFILES = ".prefect/profiles.toml";

describe("a profiles.toml that cannot be used", () => {
  const commands = [["view"], ["set", "PREFECT_DEBUG_MODE=1"], ["unset", "PREFECT_DEBUG_MODE"], ["validate"]];

  test.each<[string, (home: Awaited<ReturnType<typeof makeHome>>) => Promise<void>, RegExp]>([
    ["is no TOML", (home) => writeFile(home.profilesFile, "active = [\nsecret_marked"), /invalid TOML in line/],
    ["has the wrong shape", (home) => writeFile(home.profilesFile, "profiles = 'secret_marked'"), /must be a table/],
    ["is binary", (home) => writeFile(home.profilesFile, new Uint8Array([0xff, 0xfe, 0])), /it is not UTF-8 text/],
    ["is a directory", (home) => mkdir(home.profilesFile), /it is a directory/],
    ["leads nowhere", (home) => symlink("nowhere", home.profilesFile), /there is no such file/],
    ["leads to itself", (home) => symlink("profiles.toml", home.profilesFile), /Cannot read .*ELOOP/],
  ])("because it %s: one line, exit 1", async (_what, spoil, message) => {
    await using home = await makeHome({ ".prefect/x": "" });
    await spoil(home);
    for (const command of commands) {
      const { code, stdout, stderr } = await home.lictor(["config", ...command]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(message);
      expect(stderr.trimEnd()).not.toContain("\n");
      expect(stderr).not.toContain("secret_marked");
    }
  });

  test("because of permissions: one line, exit 1, for a user who is not root", async () => {
    await using home = await makeHome({ [PROFILES]: "[profiles.a]\n" });
    const asNobody =
      process.getuid?.() === 0 ? (["setpriv", "--reuid=65534", "--clear-groups"] as const) : (["env"] as const);
    const run = (file: string) =>
      runLictor(["config", "set", "PREFECT_DEBUG_MODE=1"], {
        cwd: "/",
        env: { HOME: "/", PREFECT_HOME: join(home.path, ".prefect"), PREFECT_PROFILES_PATH: join(home.path, file) },
        command: [...asNobody, process.execPath, inCheckout("bin/lictor.js")],
      });
    await chmod(home.path, 0o755);
    await chmod(home.profilesFile, 0o000);
    expect(await run(PROFILES)).toMatchObject({ code: 1, stderr: `Cannot read ${home.profilesFile}: no permission\n` });
    await chmod(home.profilesFile, 0o444);
    await chmod(join(home.path, ".prefect"), 0o555);
    expect(await run(PROFILES)).toMatchObject({
      code: 1,
      stderr: `Cannot write ${home.profilesFile}: no permission\n`,
    });
    await chmod(home.path, 0o555);
    expect(await run("new/p.toml")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Cannot write .*: no permission\n$/),
    });
    await chmod(home.path, 0o755);
    await chmod(join(home.path, ".prefect"), 0o755);
  });
});
