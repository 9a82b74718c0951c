// The directory for temporary files, next to what Python finds in the same environment.
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { findTemporaryDirectory } from "../../src/process/temporary-directory.ts";
import { inCheckout } from "../support/checkout.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

describe("findTemporaryDirectory", () => {
  const rows: [rule: string, env: Record<string, string>, expected: string][] = [
    ["is TMPDIR", { TMPDIR: "<a>", TEMP: "<b>" }, "<a>"],
    ["is TEMP where TMPDIR does not exist", { TMPDIR: "/no/such", TEMP: "<b>", TMP: "<a>" }, "<b>"],
    ["is TMP where the others are no directories", { TMPDIR: "<file>", TEMP: "<file>/x", TMP: "<a>" }, "<a>"],
    ["is /tmp where nothing can be written into TMPDIR", { TMPDIR: "/proc" }, "/tmp"],
    ["is /tmp where nothing is set", {}, "/tmp"],
    ["is /tmp where TMPDIR is empty", { TMPDIR: "", TEMP: "/no/such" }, "/tmp"],
  ];
  test.each(rows)("%s, as Python says", async (_rule, env, expected) => {
    await using directory = await makeTemporaryDirectory();
    await mkdir(join(directory.path, "a"));
    await mkdir(join(directory.path, "b"));
    await writeFile(join(directory.path, "file"), "");
    const fill = (path: string): string => path.replace(/<(\w+)>/, (_, name: string) => join(directory.path, name));
    const filled = Object.fromEntries(Object.entries(env).map(([name, path]) => [name, fill(path)]));
    expect(await findTemporaryDirectory(filled)).toMatchObject({ kind: "found", path: fill(expected) });
    const python = ["-c", "import tempfile; print(tempfile.gettempdir())"];
    const { stdout } = await runCommand(inject("python"), python, { env: filled });
    expect(stdout.trim()).toBe(fill(expected));
    for (const name of ["a", "b"]) expect(await readdir(join(directory.path, name))).toEqual([]);
  });

  test("says what is wrong with each where no file can hold anything", async () => {
    const module = inCheckout("src/process/temporary-directory.ts");
    const script = `import(${JSON.stringify(module)}).then(async (m) => console.log((await m.findTemporaryDirectory({ TMPDIR: "/no/such" })).message))`;
    // A limit of zero bytes for each file is like a full disk everywhere.
    const run = `trap "" XFSZ; ulimit -f 0; exec "$0" --import tsx -e '${script}' 2>/dev/null | cat`;
    const { stdout } = await runCommand("bash", ["-c", run, process.execPath], {
      cwd: inCheckout("."),
      env: { PATH: process.env.PATH },
    });
    expect(stdout).toMatch(
      /^No directory for temporary files: \/no\/such \(TMPDIR\) does not exist; \/tmp cannot be written to \(EFBIG\); .*\(the working directory\) cannot be written to \(EFBIG\)\. Set TMPDIR to/,
    );
  });
});
