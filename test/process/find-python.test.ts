// Which Python is found, and when.
import { rename, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { findPython, PythonFinder, type PythonFinding } from "../../src/program/find-python.ts";
import { runDoctor } from "../doctor/run-doctor.ts";
import { LICTOR } from "../support/lictor.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";

describe("PythonFinder", () => {
  test("finds a Python that is installed after the first search, and says so", async () => {
    await using directory = await makeTemporaryDirectory();
    const python = join(directory.path, "python");
    const env = { PATH: process.env.PATH };
    const finder = new PythonFinder(() => findPython({ explicit: { python, origin: "the test" }, env }), 10);
    const told: PythonFinding["kind"][] = [];
    finder.onFinding(({ kind }) => told.push(kind));
    const missing = { kind: "missing", message: expect.stringContaining(`${python} not found`), isSlow: false };
    expect(await finder.current()).toEqual(missing);
    const unfinished = join(directory.path, "unfinished");
    await writeFile(unfinished, `#!/bin/sh\nexec ${inject("python")} "$@"\n`, { mode: 0o755 });
    await rename(unfinished, python);
    const found = await waitFor(
      async () => ((await finder.current()).kind === "found" ? finder.current() : undefined),
      {
        timeoutMs: 30_000,
        what: "the Python",
        intervalMs: 10,
      },
    );
    expect(found).toMatchObject({ engine: { python, prefectVersion: inject("prefectVersion") } });
    expect(told).toEqual(["missing", "found"]);
  });

  test("searches once for all that ask, and not again within the interval", async () => {
    let searches = 0;
    const search = async (): Promise<PythonFinding> => ({
      kind: "missing",
      message: String(++searches),
      isSlow: false,
    });
    const finder = new PythonFinder(search, 60_000);
    const findings = await Promise.all([finder.current(), finder.current()]);
    expect(
      [...findings, await finder.current()].map((finding) => finding.kind === "missing" && finding.message),
    ).toEqual(["1", "1", "1"]);
  });
});

test("modules in the working directory are not taken for Python's own", async () => {
  await using directory = await makeTemporaryDirectory();
  for (const name of ["json", "importlib"])
    await writeFile(join(directory.path, `${name}.py`), "raise SystemExit(3)\n");
  const { find } = await runDoctor({ PREFECT_API_URL: inject("apiUrl") }, [], { cwd: directory.path });
  expect(find("Python")).toMatchObject({ status: "pass" });
});

test("a Python is found although a variable that is not UTF-8 would be too large for it", async () => {
  // Node.js shows each of the bytes as three.
  const run = `export A=$(head -c 50000 /dev/zero | tr '\\0' '\\351'); exec "$@"`;
  const { find } = await runDoctor({ PREFECT_API_URL: inject("apiUrl") }, [], {
    command: ["bash", "-c", run, "bash", ...LICTOR],
  });
  expect(find("Python")).toMatchObject({ status: "pass" });
});

test("a Python that is named by a relative path can be started from anywhere", async () => {
  const python = relative(process.cwd(), inject("python"));
  const env = { PATH: process.env.PATH };
  const finding = await findPython({ explicit: { python, origin: "the test" }, env });
  expect(finding).toMatchObject({ kind: "found", engine: { python: resolve(python) } });
});
