// Running a flow's on_cancellation and on_crashed hooks after its engine has gone without doing so: killed by the
// system, or of a release that cannot be told why it is being ended.
import { type ChildOutput, startProcess } from "../process/start-process.ts";
import { signalGroup, terminate } from "../process/terminate.ts";
import { hookScript } from "./hook-script.ts";

/** Which hooks: those of a cancelled flow run, or those of a crashed one. */
export type HookKind = "cancellation" | "crashed";

/** What hooks that are ended get between SIGTERM and SIGKILL. They are short by their nature. */
const hookGraceMs = 5_000;

/** Where and for how long a hook process runs. */
export interface HookSurroundings {
  cwd: string;
  env: Readonly<Record<string, string>>;
  output: ChildOutput;
  /** Ends the hooks gently: SIGTERM, 5 s, SIGKILL. */
  end: AbortSignal;
  /** Kills the hooks at once, before its listeners have returned. */
  leave: AbortSignal;
}

/** A flow run whose hooks are to be run, where it ran. Flow run and state are the API's. */
export interface HookCall extends HookSurroundings {
  kind: HookKind;
  flowRun: { readonly id: string };
  /** What the hooks get as the state. */
  state: { readonly type: string };
  /** The worker reaches the server in the same way as the hooks will: an outage is waited for up to ten minutes. */
  serverIsKnown: boolean;
}

/** Runs the hooks by the script. `python` is what starts Python. Throws when the flow cannot be loaded. */
export async function runHooks(python: readonly string[], call: HookCall): Promise<void> {
  const { kind, flowRun, serverIsKnown } = call;
  await runHookProcess([...python, "-c", hookScript, kind, flowRun.id, serverIsKnown ? "known" : "unknown"], call);
}

/** Runs the process that runs the hooks. Throws unless it ends with success; once `end` is aborted, it starts nothing. */
export async function runHookProcess(argv: readonly string[], surroundings: HookSurroundings): Promise<void> {
  const { cwd, env, output, end, leave } = surroundings;
  if (end.aborted || leave.aborted) throw new Error("the hooks were not started, because the worker is being ended");
  const child = await startProcess({ argv, cwd, env, output });
  let ending: Promise<void> | undefined;
  const onEnd = (): void => {
    ending ??= terminate(child, hookGraceMs, leave);
  };
  const onLeave = (): void => void signalGroup(child.pid, "SIGKILL");
  end.addEventListener("abort", onEnd);
  leave.addEventListener("abort", onLeave);
  if (end.aborted) onEnd();
  if (leave.aborted) onLeave();
  const exit = await child.exited;
  end.removeEventListener("abort", onEnd);
  leave.removeEventListener("abort", onLeave);
  // What the hooks have started may live a little longer.
  await ending;
  if (exit.code !== 0) throw new Error(`the hook process ended with ${exit.code ?? exit.signal}`);
}
