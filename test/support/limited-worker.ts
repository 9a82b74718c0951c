// A program whose number of processes can be limited while it runs, like a container at its limit.
import { LICTOR } from "./lictor.ts";
import { runCommand } from "./run-command.ts";

/** The limit of processes does not bind root, and it counts all processes of a user. So the program gets a user of its own. */
const uid = String(54_000 + (process.pid % 1_000));
const isRoot = process.getuid?.() === 0;
// The Python and the checkout may lie where only root may read.
const access = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"] as const;
const asUser = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", ...access] as const;

/** The command line of lictor, as a user whose processes `limitProcesses` may limit. */
export const limitableLictor: readonly [string, ...string[]] = isRoot
  ? ["bash", "-c", `chown -R ${uid}:${uid} "$HOME" && exec ${asUser.join(" ")} "$@"`, "bash", ...LICTOR]
  : LICTOR;

/** Lets the program start no further process or thread, or as many as before. Those that run go on. */
export async function limitProcesses(pid: number, isLimited: boolean): Promise<void> {
  const set = ["prlimit", "--pid", String(pid), `--nproc=${isLimited ? "1" : "10000"}:`];
  const [file = "", ...args] = isRoot ? [...asUser, ...set] : set;
  const { code, stderr } = await runCommand(file, args, { cwd: "/" });
  if (code !== 0) throw new Error(`prlimit ended with ${code}: ${stderr}`);
}
