// lictor in a shell: help, mistakes, colours and completion.
import { chmod, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import { inCheckout } from "../support/checkout.ts";
import { runInTerminal } from "../support/in-terminal.ts";
import { LICTOR, runLictor } from "../support/lictor.ts";
import { endAsNotApplicable } from "../support/prefect-release.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { makeHome } from "./home.ts";

test("without a command, the help is shown and is no error", async () => {
  for (const args of [[], ["worker"], ["--help"]]) {
    const { code, stdout, stderr } = await runLictor(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("Usage: lictor");
  }
});

test("an unknown command is one line of what was meant, and exit code 1", async () => {
  expect(await runLictor(["drian", "--wait"])).toEqual({
    code: 1,
    stdout: "",
    stderr:
      "error: unknown command 'drian'\n(Did you mean 'lictor worker drain'?)\n(add --help for what is possible)\n",
  });
});

test("a work pool without --pool is answered with the command that was meant", async () => {
  const { code, stderr } = await runLictor(["worker", "start", "my-pool", "--limit", "2"]);
  expect(code).toBe(1);
  expect(stderr).toContain("\n(Did you mean 'lictor worker start --pool my-pool --limit 2'?)\n");
});

describe("colours", () => {
  const warning = { PREFECT_WORKER_QUERY_SECONDS: "0.01" };
  const escapeCode = "\u001b[";

  test.each([
    ["are used on a terminal", ["config", "view"], {}, true],
    ["are not used with --no-color", ["config", "view", "--no-color"], {}, false],
    ["are not used with --no-color before the command", ["--no-color", "config", "view"], {}, false],
    ["are not used with NO_COLOR", ["config", "view"], { NO_COLOR: "1" }, false],
    ["are used with an empty NO_COLOR", ["config", "view"], { NO_COLOR: "" }, true],
  ] as const)("%s", async (_rule, args, env, isColoured) => {
    await using home = await makeHome();
    const { code, output } = await runInTerminal(inject("python"), [...args], {
      env: home.env({ ...warning, ...env }),
      cwd: home.path,
      dialogue: [],
    });
    expect(code).toBe(0);
    expect(output).toContain("PREFECT_WORKER_QUERY_SECONDS");
    expect(output.includes(escapeCode)).toBe(isColoured);
  });

  test("are not used without a terminal", async () => {
    const { stdout, stderr } = await runLictor(["config", "view"], { env: warning });
    expect(stderr).toContain("PREFECT_WORKER_QUERY_SECONDS");
    expect(stdout + stderr).not.toContain(escapeCode);
  });
});

/** What can follow the words. */
async function complete(words: readonly string[], env: Record<string, string> = {}): Promise<string[]> {
  const { code, stdout, stderr } = await runLictor(["complete", "--", ...words], { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.split("\n").filter(Boolean);
}

describe("completion", () => {
  const texts = (lines: readonly string[]) => lines.map((line) => line.split("\t")[0]);

  test("knows commands, options and their choices", async () => {
    expect(texts(await complete(["w"]))).toEqual(["worker", "work-pool"]);
    expect(await complete(["worker", "dr"])).toEqual([
      "drain\tLet workers of this machine take no new flow runs and end when theirs have ended.",
    ]);
    expect(texts(await complete(["worker", "start", "--with"]))).toEqual(["--with-healthcheck"]);
    expect(texts(await complete(["worker", "start", "--engine", ""]))).toEqual(["auto", "warm", "cold"]);
    expect(texts(await complete(["worker", "start", "--engine=c"]))).toEqual(["cold"]);
    expect(texts(await complete(["worker", "start", "--engine", "=", "c"]))).toEqual(["cold"]);
    expect(texts(await complete(["worker", "start", "--python", "/usr"]))).toEqual([":files"]);
    expect(texts(await complete(["config", "set", "PREFECT_API_KEY"]))).toEqual([
      "PREFECT_API_KEY=",
      "PREFECT_API_KEY_FILE=",
    ]);
    expect(await complete(["worker", "start", "--name", ""])).toEqual([]);
  });

  test("knows the names on the server, and the profiles", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await api.createWorkQueue(pool, "urgent");
    const deployment = await deploy(api, pool, "hello");
    expect(deployment).not.toBe("");
    const env = { PREFECT_API_URL: inject("apiUrl") };
    // A busy server may take longer than a completion waits.
    const offered = async (words: readonly string[]): Promise<string[]> =>
      await waitFor(async () => [await complete(words, env)].find(({ length }) => length > 0), {
        timeoutMs: 60_000,
        what: words.join(" "),
      });
    expect(await offered(["worker", "start", "--pool", pool.slice(0, -2)])).toEqual([pool]);
    expect(await offered(["worker", "start", "-p", pool, "-q", "u"])).toEqual(["urgent"]);
    await using home = await makeHome({ ".prefect/profiles.toml": "[profiles.staging]\n[profiles.live]\n" });
    expect((await home.lictor(["complete", "--", "profile", "use", "st"])).stdout).toBe("staging\n");
    expect((await home.lictor(["complete", "--", "--profile", ""])).stdout).toBe("staging\nlive\n");
  });

  test("offers nothing and is quick if the server does not respond", async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    try {
      await new Promise((resolve) => silent.once("listening", resolve));
      const { port } = silent.address() as { port: number };
      const startedAt = performance.now();
      const env = { PREFECT_API_URL: `http://127.0.0.1:${port}/api` };
      expect(await complete(["worker", "start", "--pool", ""], env)).toEqual([]);
      expect(performance.now() - startedAt).toBeLessThan(10_000);
    } finally {
      silent.close();
    }
  });

  test.each(["bash", "zsh", "fish"])("works in a real %s", async (shell) => {
    if ((await runCommand("which", [shell])).code !== 0) return endAsNotApplicable(`${shell} is not installed`);
    await using folder = await makeTemporaryDirectory("lictor-shell-");
    await symlink(LICTOR[1] as string, join(folder.path, "lictor"));
    await chmod(inCheckout("bin/lictor.js"), 0o755);
    const script = await runLictor(["completion", shell]);
    await writeFile(join(folder.path, "completion"), script.stdout);
    const PATH = `${folder.path}:${process.env.PATH}`;
    const env = { PATH, HOME: folder.path, TERM: "dumb" };
    const task = { bash: inBash, zsh: inZsh, fish: inFish }[shell] ?? "";
    const { code, stdout, stderr } = await runCommand(shell, ["-c", task], { env, cwd: folder.path });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [command, engines = ""] = stdout.trim().split("\n");
    expect([command, engines.split(" ").sort()]).toEqual(["drain", ["auto", "cold", "warm"]]);
  });
});

const inBash = `
. ./completion
COMP_WORDS=(lictor worker dr) COMP_CWORD=2; _lictor; echo "\${COMPREPLY[*]}"
COMP_WORDS=(lictor worker start --engine '') COMP_CWORD=4; _lictor; echo "\${COMPREPLY[*]}"
complete -p lictor >/dev/null`;

// A pseudo-terminal would be needed to press Tab in zsh, so _describe shows what it gets.
const inZsh = `
autoload -U compinit && compinit -u -d ./dump
. ./completion
_describe() { local -a all=(\${(P)2}); print -- "\${all[@]%%:*}" }
words=(lictor worker dr) CURRENT=3; _lictor
words=(lictor worker start --engine '') CURRENT=5; _lictor
[[ $_comps[lictor] == _lictor ]]`;

const inFish = `
source ./completion
complete -C 'lictor worker dr' | string replace -r '\\t.*' ''
echo (complete -C 'lictor worker start --engine ' | string replace -r '\\t.*' '')`;
