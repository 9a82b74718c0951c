// Which commands may be a Prefect engine, so that they have hooks to be run.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mayStartEngine } from "../../src/program/engine-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const rows: [command: string[], expected: boolean][] = [
  [["python", "-m", "prefect.engine"], true],
  [["/opt/venv/bin/python3.12", "-m", "prefect.flow_engine"], true],
  [["prefect", "flow-run", "execute"], true],
  [["opentelemetry-instrument", "prefect", "flow-run", "execute"], true],
  [["uv", "run", "prefect", "flow-run", "execute"], true],
  [["uv", "run", "start"], true],
  [["sh", "-c", "sleep 1; exec python -m prefect.engine"], true],
  [["sh", "-c", "cd /app && ./start.sh"], true],
  [["bash", "-c", ". ./start"], true],
  [["bash", "start.sh"], true],
  [["python", "main.py"], true],
  [["python3", "-m", "my.engine"], true],
  [["env", "A=1", "make", "flow"], true],
  [["docker", "run", "image"], true],
  [["./script"], true],
  [["script-on-path"], true],
  [["sleep", "60"], false],
  [["./binary", "--flag"], false],
  [["binary-on-path"], false],
  [["no-such-program"], false],
  [["node", "-e", "setInterval(() => 0, 1000)"], false],
  [["node", "server.mjs"], false],
  [["sh", "-c", "echo one && sleep 60"], false],
  [["python", "-c", "import time; time.sleep(60)"], false],
  [[], false],
];

test.each(rows)("%j: %s", async (command, expected) => {
  await using directory = await makeTemporaryDirectory("lictor-command-");
  const bin = join(directory.path, "bin");
  await mkdir(bin);
  const executable = { mode: 0o755 };
  const elf = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
  await writeFile(join(directory.path, "script"), "#!/bin/sh\n", executable);
  await writeFile(join(directory.path, "binary"), elf, executable);
  await writeFile(join(bin, "script-on-path"), "#!/opt/venv/bin/python\n", executable);
  await writeFile(join(bin, "binary-on-path"), elf, executable);
  const env = { PATH: `/nowhere:${bin}` };
  expect(await mayStartEngine(command, { cwd: directory.path, env })).toBe(expected);
});
