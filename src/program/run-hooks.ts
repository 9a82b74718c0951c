// Runs a flow's on_cancellation and on_crashed hooks when its engine did not. The system may have killed the engine, or the
// engine's release cannot receive the reason for its end.
import { type ChildOutput, startProcess } from "../process/start-process.ts";
import { signalGroup, terminate } from "../process/terminate.ts";
import { hookScript } from "./hook-script.ts";

/** Which hooks to run: on_cancellation or on_crashed. */
export type HookKind = "cancellation" | "crashed";

/** The grace period of hooks between SIGTERM and SIGKILL. Hooks are usually short. */
const hookGraceMs = 5_000;

/** Where and for how long a hook process runs. */
export interface HookProcessOptions {
  cwd: string;
  env: Readonly<Record<string, string>>;
  output: ChildOutput;
  /** An abort ends the hooks: SIGTERM, after 5 s SIGKILL. */
  end: AbortSignal;
  /** An abort kills the hooks at once, within the abort call, because the program may exit directly after it. */
  leave: AbortSignal;
}

/** The flow run whose hooks to run, and where it ran. Flow run and state have the shape of the API. */
export interface HookCall extends HookProcessOptions {
  kind: HookKind;
  flowRun: { readonly id: string };
  /** The state that the hooks receive. */
  state: { readonly type: string };
  /** Whether the worker reaches the server in the same way as the hooks. Then they retry for ten minutes in an outage. */
  serverIsKnown: boolean;
}

/** Runs the hooks with the script. `python` is the command that starts Python. Throws when the flow cannot be loaded. */
export async function runHooks(python: readonly string[], call: HookCall): Promise<void> {
  const { kind, flowRun, serverIsKnown } = call;
  await runHookProcess([...python, "-c", hookScript, kind, flowRun.id, serverIsKnown ? "known" : "unknown"], call);
}

/** Runs the process that runs the hooks. Throws if it fails, and does not start it if `end` or `leave` has aborted. */
export async function runHookProcess(argv: readonly string[], options: HookProcessOptions): Promise<void> {
  const { cwd, env, output, end, leave } = options;
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
  // Processes that the hooks started may run a little longer.
  await ending;
  if (exit.code !== 0) throw new Error(`the hook process ended with ${exit.code ?? exit.signal}`);
}
