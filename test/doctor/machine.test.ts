// What `lictor doctor` says about this machine and about values that cannot be meant.
import { chmod, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { Examination } from "../../src/doctor/check.ts";
import { machineChecks } from "../../src/doctor/machine-checks.ts";
import { findPython } from "../../src/program/find-python.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { runDoctor } from "./run-doctor.ts";

const env = () => ({ PREFECT_API_URL: inject("apiUrl") });

test("a Python that is slow is a warning, and no reason for exit code 1", async () => {
  await using directory = await makeTemporaryDirectory("lictor-slow-python-");
  const python = join(directory.path, "python");
  await writeFile(python, "#!/bin/sh\nexec sleep 60\n");
  await chmod(python, 0o755);
  const diagnosis = await runDoctor(env(), ["--python", python, "--timeout", "10"], { patient: false });
  expect(diagnosis.find("Python")).toEqual({
    name: "Python",
    status: "warn",
    message: "no answer in time",
    advice: "The machine is busy or slow: --timeout SECONDS gives everything more time.",
  });
  expect(diagnosis.named("fail")).toEqual([]);
  expect(diagnosis.code).toBe(0);
});

test("a Python that is slower than the search allows is a warning too", async () => {
  await using directory = await makeTemporaryDirectory("lictor-slow-python-");
  const python = join(directory.path, "python");
  await writeFile(python, "#!/bin/sh\nexec sleep 60\n", { mode: 0o755 });
  const explicit = { python, origin: "--python" };
  const finding = await findPython({ explicit, env: { PATH: process.env.PATH }, timeoutMs: 200 });
  const check = machineChecks.find(({ name }) => name === "Python");
  expect(await check?.run({ python: Promise.resolve(finding) } as Examination)).toEqual([
    {
      name: "Python",
      status: "warn",
      message: `No Python with Prefect (given by --python): ${python} did not answer within 0.2 s.`,
      advice: "Wait if the machine is busy, or name another Python by --python PATH or LICTOR_PYTHON.",
    },
  ]);
});

describe("the directory for temporary files", () => {
  test.each([
    ["that does not exist", "/nonexistent/tmp", "/nonexistent/tmp (TMPDIR) does not exist; /tmp is used instead"],
    ["that is no directory", "/dev/null", "/dev/null (TMPDIR) is not a directory; /tmp is used instead"],
  ])("%s is a warning that names the one that is used", async (_what, path, message) => {
    const diagnosis = await runDoctor({ ...env(), TMPDIR: path });
    expect(diagnosis.find("temporary directory")).toMatchObject({ status: "warn", message });
  });

  test("of TMPDIR is used when it can be written to, and nothing is left in it", async () => {
    await using directory = await makeTemporaryDirectory("lictor-tmp-");
    const diagnosis = await runDoctor({ ...env(), TMPDIR: directory.path });
    expect(diagnosis.find("temporary directory").message).toContain(directory.path);
    expect(await readdir(directory.path)).toEqual([]);
  });
});

describe("a secret with quotes around it", () => {
  test.each([
    ["PREFECT_API_KEY", '"pnu_marked_key_0123456789"'],
    ["PREFECT_API_AUTH_STRING", "'admin:marked-password'"],
  ])("in %s is a warning without the secret", async (name, value) => {
    const diagnosis = await runDoctor({ ...env(), [name]: value });
    expect(diagnosis.find(name)).toMatchObject({
      status: "warn",
      advice: "It begins and ends with a quote, which is sent too: remove both quotes.",
    });
    expect(diagnosis.output).not.toContain("marked");
  });
});
