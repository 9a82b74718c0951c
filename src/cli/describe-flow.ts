// Asks the module of an entrypoint what it says about its flow: parameters, retries, time limit.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import type { FlowDescription } from "./deployment-plan.ts";
import type { ProgramContext } from "./program-context.ts";

/** A module may import much. */
const timeoutMs = 60_000;

/**
 * Returns the description of a flow, by its entrypoint `file:flow`. The file is relative to `directory`. The module is
 * executed as far as it defines its flows. Throws an Error.
 */
export async function describeFlow(
  entrypoint: string,
  { directory, env }: { directory: string; env: ProgramContext["env"] },
): Promise<FlowDescription> {
  const [, file, wanted] = /^(.+):([^:]+)$/.exec(entrypoint) ?? [];
  if (file === undefined || wanted === undefined)
    throw new Error(`'${entrypoint}' is no entrypoint. Write file:flow, such as flow.ts:import.`);
  const path = resolve(directory, file);
  if (
    !(await stat(path).then(
      (found) => found.isFile(),
      () => false,
    ))
  )
    throw new Error(`The file ${path} of entrypoint '${entrypoint}' does not exist.`);
  const flows = await describeAll(path, directory, env);
  const found = flows.find(({ name }) => name === wanted);
  if (found) return found;
  const known = flows.map(({ name }) => `'${name}'`).join(", ");
  throw new Error(
    `${file} has no flow '${wanted}'. ${known === "" ? "It defines none with lictor." : `It has ${known}.`}`,
  );
}

async function describeAll(path: string, directory: string, given: ProgramContext["env"]): Promise<FlowDescription[]> {
  const place = await mkdtemp(join(tmpdir(), "lictor-describe-"));
  const result = join(place, "flows.json");
  try {
    const env = { ...given, LICTOR_DESCRIBE_FILE: result };
    await promisify(execFile)("node", [path], { cwd: directory, env, timeout: timeoutMs }).catch((error: unknown) => {
      throw new Error(`node ${path} failed: ${reasonOf(error as Failure)}`);
    });
    const text = await readFile(result, "utf8").catch(() => "[]");
    return JSON.parse(text) as FlowDescription[];
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

/** What `execFile` says about a program that failed. */
interface Failure {
  readonly message: string;
  readonly stderr?: string;
  readonly code?: string | number | null;
  readonly killed?: boolean;
}

/** Returns the line of the error in what Node.js prints, with what to do about the most frequent ones. */
function reasonOf({ message, stderr = "", code, killed = false }: Failure): string {
  if (code === "ENOENT") return "there is no `node` on PATH. Install Node.js, or deploy from a machine that has it.";
  if (killed)
    return `it did not end within ${timeoutMs / 1000} s. Start no server and no endless work in the module itself.`;
  if (/ERR_UNKNOWN_FILE_EXTENSION/.test(stderr))
    return "this Node.js does not run TypeScript. Use Node.js 22.18 or newer, or compile the file to JavaScript.";
  if (/Cannot use import statement outside a module/.test(stderr))
    return "its package.json says that it is no ES module. Run `npm pkg set type=module`, or name the file .mts or .mjs.";
  const line = stderr.split("\n").find((each) => /^\w*Error\b/.test(each)) ?? message.split("\n")[0] ?? message;
  return /Cannot find package 'lictor'/.test(line) ? `${line}. Install it there: npm install lictor.` : line;
}
