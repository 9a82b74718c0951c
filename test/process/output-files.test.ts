// The output of real programs, as lines, by way of files.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { OutputFiles, type OutputLine } from "../../src/process/output-files.ts";
import { startProcess } from "../../src/process/start-process.ts";
import { inCheckout } from "../support/checkout.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";

const flood = (lines: number): string[] => [
  process.execPath,
  inCheckout("test/fixtures/programs/flood-stdout.mjs"),
  String(lines),
];
const env = { PATH: process.env.PATH ?? "" };

/** Files in a folder of their own; `texts` gives what was printed to one stream so far. */
async function openOutput(parent: string) {
  const directory = join(parent, "output");
  await mkdir(directory, { recursive: true });
  const lines: OutputLine[] = [];
  const fail = (error: unknown): never => {
    throw error;
  };
  const output = await OutputFiles.open(directory, { onLine: (line) => lines.push(line), onError: fail });
  const texts = (stream: string): string[] => lines.filter((line) => line.stream === stream).map(({ text }) => text);
  return { directory, output, lines, texts };
}

describe("a program's output", () => {
  test("comes by lines, from both streams, while the program runs, and its files are removed", async () => {
    await using parent = await makeTemporaryDirectory();
    const { directory, output, lines, texts } = await openOutput(parent.path);
    const script = "echo one; echo two >&2; read -r _ < fifo; printf 'no end'";
    await runMkfifo(join(parent.path, "fifo"));
    const child = await startProcess({ argv: ["/bin/sh", "-c", script], cwd: parent.path, env, output });
    await waitFor(() => lines.length === 2, { timeoutMs: 10_000, what: "two lines" });
    expect([texts("stdout"), texts("stderr")]).toEqual([["one"], ["two"]]);
    await startProcess({ argv: ["/bin/sh", "-c", "echo > fifo"], cwd: parent.path, env, output: "ignore" });
    expect(await child.exited).toEqual({ code: 0, signal: null });
    await output[Symbol.asyncDispose]();
    expect(texts("stdout")).toEqual(["one", "no end"]);
    await expect(access(directory)).rejects.toThrow("ENOENT");
  });

  test("is complete and takes little space on disk, however much it is", async () => {
    await using parent = await makeTemporaryDirectory();
    const { directory, output, texts } = await openOutput(parent.path);
    const count = 200_000;
    const child = await startProcess({ argv: flood(count), cwd: "/", env, output });
    await child.exited;
    await waitFor(() => texts("stdout").at(-1) === "done", {
      timeoutMs: 60_000,
      what: "the last line",
      intervalMs: 100,
    });
    const file = await stat(join(directory, "stdout"));
    // 42 MB were printed.
    expect(file.blocks * 512).toBeLessThan(20 * 1024 * 1024);
    await output[Symbol.asyncDispose]();
    const numbers = texts("stdout").map((text) => /^line (\d+) x{200}$/.exec(text)?.[1] ?? text);
    expect(numbers.length).toBe(count + 1);
    expect(numbers.findIndex((number, index) => number !== String(index))).toBe(count);
  });

  test("is read on by a second reader where the first has stopped", async () => {
    await using parent = await makeTemporaryDirectory();
    await mkdir(join(parent.path, "output"));
    const script = inCheckout("test/fixtures/programs/follow-and-die.ts");
    const args = ["--import", "tsx", script, join(parent.path, "output")];
    // Like a worker that is killed: its child prints on.
    const first = spawn(process.execPath, args, { cwd: inCheckout("."), stdio: ["ignore", "pipe", "inherit"] });
    const printed: string[] = [];
    first.stdout.on("data", (chunk) => printed.push(String(chunk)));
    await once(first, "exit");
    expect(printed.join("")).toBe("one\n");
    const { output, texts } = await openOutput(parent.path);
    await waitFor(() => texts("stdout").at(-1) === "three", { timeoutMs: 20_000, what: "the last line" });
    await output[Symbol.asyncDispose]();
    expect(texts("stdout")).toEqual(["two", "three"]);
  });
});

async function runMkfifo(path: string): Promise<void> {
  await once(spawn("mkfifo", [path]), "exit");
}
