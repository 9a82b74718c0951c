// Executes the commands of a document in one shell, in a home of its own.
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { transform } from "esbuild";
import { inject } from "vitest";
import { makeHome, type UserHome } from "../cli/home.ts";
import { inCheckout } from "../support/checkout.ts";
import { findFreePort } from "../support/free-port.ts";
import { LICTOR } from "../support/lictor.ts";
import { pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { codeBlocksOf, commandsOf, fileNameOf } from "./code-blocks.ts";
import type { Document } from "./documents.ts";
import { isRecorded, recordedPrograms } from "./recorded-commands.ts";

/** A command of a document, and what came of it. */
export interface ExecutedCommand {
  command: string;
  /** The exit code; undefined if the shell did not come to it. */
  code: number | undefined;
  output: string;
}

/** What came of the commands of a document. */
export interface PageResult {
  executed: ExecutedCommand[];
  /** The command lines that were only recorded, in words. */
  recorded: string[][];
}

/** What a page finds in its home beside the files that it shows itself. `flowRun` is an id for the one in the documents. */
export interface PageOptions {
  files: Readonly<Record<string, string>>;
  flowRun: string;
}

/** Executes the commands of a document. `check` is called before its workers end. */
export async function runPage<T>(
  document: Document,
  options: PageOptions,
  check: (result: PageResult) => Promise<T>,
): Promise<T> {
  await using tools = await makeTemporaryDirectory("lictor-page-");
  await using home = await makeHome(options.files);
  await writeTools(tools.path);
  const ports = { web: await findFreePort(), metrics: await findFreePort() };
  const replace = replacer(home, options.flowRun, ports.web, tools.path);
  await fillHome(home, document, replace);
  const blocks = codeBlocksOf(document).filter(({ language }) => language === "sh");
  const lines = blocks.flatMap(commandsOf);
  const script = pageScript(
    blocks.map((block) => commandsOf(block).map(replace)),
    tools.path,
  );
  await writeFile(join(tools.path, "page.sh"), script);
  const isSetByPage = lines.some((line) => line.includes("config set PREFECT_API_URL=http://127.0.0.1"));
  const env = home.env({
    PATH: `${join(tools.path, "bin")}:${dirname(LICTOR[0])}:${process.env.PATH}`,
    LICTOR_PYTHON: inject("python"),
    LICTOR_ENGINE_LAZY: "true",
    LICTOR_PARAMETERS_FILE: join(home.path, "parameters.json"),
    LICTOR_RESULT_FILE: join(home.path, "result.json"),
    PREFECT_WORKER_WEBSERVER_PORT: String(ports.web),
    PREFECT_CLIENT_METRICS_PORT: String(ports.metrics),
    ...(isSetByPage ? {} : { PREFECT_API_URL: inject("apiUrl") }),
  });
  try {
    const { stderr } = await runCommand("bash", [join(tools.path, "page.sh")], { env, cwd: home.path });
    if (stderr !== "") throw new Error(`${document.path}: ${stderr}`);
    return await check(await readResult(lines, tools.path));
  } finally {
    await endWorkers(home);
  }
}

/** Writes `bin/lictor`, and a recorder in place of each program whose commands are not executed. */
async function writeTools(folder: string): Promise<void> {
  const recorders = [...recordedPrograms, "home/prefect/bin/pip", "home/prefect/bin/prefect"];
  for (const name of ["bin", "recorders", "home/prefect/bin"]) await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, "recorded"), "");
  await writeFile(join(folder, "pids"), "");
  await writeFile(join(folder, "bin/lictor"), startWorkersInBackground(folder), { mode: 0o755 });
  const record = `#!/bin/sh
{ printf '%s\\0' "\${0##*/}" "$@"; echo; } >>'${folder}/recorded'
/bin/cat >/dev/null\n`;
  for (const name of recorders) {
    await writeFile(join(folder, name.includes("/") ? name : `recorders/${name}`), record, { mode: 0o755 });
  }
}

/** A worker would keep the shell. So its command ends when it has started, and it goes on in the background. */
const startWorkersInBackground = (folder: string): string => `#!/usr/bin/env bash
case " $* " in
  *" worker start "*) ;;
  *) exec ${LICTOR.join(" ")} "$@" ;;
esac
log=$(mktemp ${folder}/worker-XXXXXX)
${LICTOR.join(" ")} "$@" >"$log" 2>&1 </dev/null &
echo $! >>${folder}/pids
until grep -q "Worker '.*' started!" "$log"; do
  kill -0 $! 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.02
done
`;

/** Returns what puts the test's server, Python and so on in place of those in the documents. */
function replacer(home: UserHome, flowRun: string, port: number, tools: string): (text: string) => string {
  return (text) =>
    text
      .replaceAll("http://127.0.0.1:4200/api", inject("apiUrl"))
      .replaceAll("http://localhost:8080/", `http://localhost:${port}/`)
      .replaceAll("/opt/prefect/bin/python", inject("python"))
      .replaceAll("/run/secrets/", `${home.path}/secrets/`)
      .replaceAll("2a6c02a4-61f3-41ea-9173-73f7a59f8460", flowRun)
      .replace(/\b(WORKER_)?PID\b/g, `$(tail -n 1 '${tools}/pids')`)
      .replace("--sockets 90", "--sockets 1")
      // Node.js 20 runs no TypeScript, so the files are compiled.
      .replace(/\b(\w+)\.ts:(\w+)/g, "$1.mjs:$2");
}

/** Writes the files that the document shows, and `~/prefect`, an environment with Prefect. */
async function fillHome(home: UserHome, document: Document, replace: (text: string) => string): Promise<void> {
  await symlink(dirname(dirname(inject("python"))), join(home.path, "prefect"));
  await mkdir(join(home.path, "node_modules"));
  await symlink(inCheckout("."), join(home.path, "node_modules/lictor"));
  for (const block of codeBlocksOf(document)) {
    const name = fileNameOf(block);
    if (name === undefined) continue;
    await writeFile(join(home.path, name), replace(block.text));
    if (!name.endsWith(".ts")) continue;
    const { code } = await transform(block.text, { loader: "ts", format: "esm" });
    await writeFile(join(home.path, name.replace(/\.ts$/, ".mjs")), code);
  }
}

/**
 * A script that executes the commands one after the other, each with its output and its exit code in a file. A block that ends
 * workers finds one.
 */
function pageScript(blocks: readonly string[][], tools: string): string {
  const worker = `PREFECT_API_URL='${inject("apiUrl")}' lictor worker start --pool my-pool\n`;
  let index = 0;
  const steps = blocks.map((commands) => {
    const isEnding = commands.some((command) => command.includes("worker drain") || command.startsWith("kill "));
    const lines = commands.map((command) => {
      const end = `>'${tools}/${index}.output' 2>&1; echo ${index++} $? >>'${tools}/codes'\n`;
      if (!isRecorded(command)) return `{ ${command}\n} ${end}`;
      return `( PATH='${tools}/recorders' HOME='${tools}/home'\n${command}\n) ${end}`;
    });
    return `${isEnding ? worker : ""}${lines.join("")}`;
  });
  return `set -o pipefail\n${steps.join("")}`;
}

async function readResult(lines: readonly string[], tools: string): Promise<PageResult> {
  const codes = new Map<number, number>();
  for (const [, index, code] of (await readFile(join(tools, "codes"), "utf8")).matchAll(/^(\d+) (\d+)$/gm))
    codes.set(Number(index), Number(code));
  const executed = await Promise.all(
    lines.map(async (command, index) => ({
      command,
      code: codes.get(index),
      output: await readFile(join(tools, `${index}.output`), "utf8").catch(() => ""),
    })),
  );
  const recorded = (await readFile(join(tools, "recorded"), "utf8")).split("\0\n").filter(Boolean);
  return { executed, recorded: recorded.map((words) => words.split("\0")) };
}

/** Drains what the page has started. */
async function endWorkers(home: UserHome): Promise<void> {
  const left = async (): Promise<number[]> => await pidsWithEnvironment("HOME", home.path);
  for (const pid of await left()) signalProcess(pid, "SIGTERM");
  try {
    await waitFor(async () => (await left()).length === 0, {
      timeoutMs: 30_000,
      what: "the workers of the page to end",
    });
  } finally {
    for (const pid of await left()) signalProcess(pid, "SIGKILL");
  }
}
