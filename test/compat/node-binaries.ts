// Other releases of Node.js than the one that runs the tests, each from the npm package `node`.
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "../support/checkout.ts";
import { isAlive } from "../support/processes.ts";
import { runCommand } from "../support/run-command.ts";
import { withProgress } from "../support/with-progress.ts";

/** A Node.js that runs. */
export interface NodeBinary {
  path: string;
  version: string;
}

const CACHE = inCheckout(".cache");

/** The newest Node.js of a major version, kept below .cache/. Throws with npm's last words. */
export async function ensureNode(major: string, log: (line: string) => void): Promise<NodeBinary> {
  const directory = join(CACHE, `node-${major}`);
  const ready = await findReady(directory);
  if (ready !== undefined) return ready;
  await removeLeftovers();
  // Built aside, since an interrupted installation must not be taken for a complete one.
  const unfinished = `${directory}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  const args = ["install", "--prefix", unfinished, "--no-save", "--no-audit", "--no-fund", `node@${major}`];
  const npm = await withProgress(log, `Installing Node.js ${major}`, runCommand("npm", args, { cwd: unfinished }));
  if (npm.code !== 0) throw new Error(`npm ${args.join(" ")}: exit ${npm.code}\n${npm.stderr.trim()}`);
  await rm(directory, { recursive: true, force: true });
  await rename(unfinished, directory);
  const installed = await findReady(directory);
  if (installed === undefined) throw new Error(`The npm package node@${major} has no binary for this machine.`);
  return installed;
}

async function findReady(directory: string): Promise<NodeBinary | undefined> {
  const path = join(directory, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");
  const answer = await runCommand(path, ["-p", "process.versions.node"]).catch(() => undefined);
  return answer?.code === 0 ? { path, version: answer.stdout.trim() } : undefined;
}

async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(CACHE).catch(() => [])) {
    const owner = /^node-\d+\.(\d+)$/.exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    await rm(join(CACHE, name), { recursive: true, force: true });
  }
}
