// Users without a home directory, with somebody else's, and in a directory that is gone.
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import { inCheckout } from "../support/checkout.ts";
import { type ProgramOptions, runLictor } from "../support/lictor.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const LICTOR = [process.execPath, inCheckout("bin/lictor.js")];
const UID = "54321";
const needsRoot = process.getuid?.() !== 0;

/** A user id without an entry in the passwd database; only root can become one. */
const AS_STRANGER = ["setpriv", "--reuid", UID, "--regid", UID, "--clear-groups"] as const;

/** The same user, who may read the Python of the tests wherever it is installed. */
const AS_READER = [...AS_STRANGER, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"] as const;

/** The options of a program of such a user. */
function withoutHome(env: Record<string, string> = {}, user: readonly string[] = AS_STRANGER): ProgramOptions {
  // The tests set both for every program.
  return { cwd: "/", command: ["env", "-u", "HOME", "-u", "PREFECT_HOME", ...pairs(env), ...user, ...LICTOR] };
}

function pairs(env: Record<string, string>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

describe.skipIf(needsRoot)("a user without a home directory", () => {
  test.each([[["config", "view"]], [["worker", "start", "--pool", "p"]], [["profile", "ls"]], [["cloud", "logout"]]])(
    "gets one line of advice from %s",
    async (command) => {
      const { code, stdout, stderr } = await runLictor(command, withoutHome());
      expect({ code, stdout, stderr }).toEqual({
        code: 1,
        stdout: "",
        stderr:
          `Cannot find ~/.prefect/profiles.toml: HOME is not set, and this user (${UID}) has no entry in the passwd ` +
          "database. Set HOME, or set PREFECT_HOME and PREFECT_PROFILES_PATH to absolute paths.\n",
      });
    },
  );

  test.each(["PREFECT_HOME", "PREFECT_PROFILES_PATH"])("needs none where %s is given", async (name) => {
    await using directory = await makeTemporaryDirectory();
    await chmod(directory.path, 0o755);
    const file = join(directory.path, "profiles.toml");
    await writeFile(file, "active = 'p'\n[profiles.p]\nPREFECT_CLIENT_MAX_RETRIES = '4'\n");
    const env = { [name]: name === "PREFECT_HOME" ? directory.path : file };
    const { code, stdout, stderr } = await runLictor(["config", "view"], withoutHome(env));
    expect(code).toBe(0);
    expect(stdout).toContain("PREFECT_CLIENT_MAX_RETRIES='4' (from profile)");
    expect(stderr).toContain("flow runs get HOME=/");
  });

  test("gets a worker without a control socket, and no folder `~`", async () => {
    await using directory = await makeTemporaryDirectory();
    await chmod(directory.path, 0o777);
    const env = { PREFECT_PROFILES_PATH: join(directory.path, "profiles.toml"), TMPDIR: directory.path };
    const started = { apiUrl: inject("apiUrl"), ...withoutHome(env, AS_READER), cwd: directory.path };
    await using worker = await startWorker(await newPool(sharedApi()), started);
    await worker.waitForOutput(/No control socket, because this user has no home .* Set LICTOR_STATE_DIR/, 10_000);
    expect(await readdir(directory.path)).not.toContain("~");
    const { code, stderr } = await runLictor(["worker", "status"], withoutHome(env));
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/Set LICTOR_STATE_DIR\.\n$/) });
  });

  test("has flow runs that complete", async () => {
    await using directory = await makeTemporaryDirectory();
    await chmod(directory.path, 0o777);
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello");
    const env = { PREFECT_HOME: join(directory.path, "home"), TMPDIR: directory.path };
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl"), ...withoutHome(env, AS_READER) });
    const { id } = await api.createFlowRun(deployment);
    await api.waitForState(id, ["COMPLETED"], 60_000);
  });
});

describe.skipIf(needsRoot)("a user with somebody else's home directory", () => {
  test("gets one line of advice, and none where PREFECT_PROFILES_PATH is given", async () => {
    await using directory = await makeTemporaryDirectory();
    const home = join(directory.path, "home");
    await mkdir(home, { mode: 0o700 });
    await chmod(directory.path, 0o755);
    const run = (env: Record<string, string>) =>
      runLictor(["config", "view"], {
        cwd: "/",
        command: ["env", "-u", "PREFECT_HOME", ...pairs({ HOME: home, ...env }), ...AS_STRANGER, ...LICTOR],
      });
    expect(await run({})).toEqual({
      code: 1,
      stdout: "",
      stderr: `Cannot read ${home}/.prefect/profiles.toml: no permission. PREFECT_PROFILES_PATH names another file.\n`,
    });
    expect(await run({ PREFECT_PROFILES_PATH: join(directory.path, "none.toml") })).toMatchObject({ code: 0 });
  });
});

test("a working directory that was removed is one line of advice", async () => {
  await using directory = await makeTemporaryDirectory();
  const gone = join(directory.path, "gone");
  await mkdir(gone);
  const script = `cd ${gone} && rmdir ${gone} && exec "$@"`;
  const { code, stderr } = await runLictor(["config", "view"], { command: ["sh", "-c", script, "sh", ...LICTOR] });
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr:
      "The working directory cannot be used (ENOENT); it was probably removed. Change to another one and start again.\n",
  });
});
