// The execution of one flow run as a child process: how it ends, how it is stopped, and who runs the hooks of its flow.
import { constants } from "node:os";
import { isStateType } from "../../api/wire.ts";
import { waitAtMost } from "../../async/sleep.ts";
import type { ControlledChild } from "../../process/control-channel.ts";
import type { ProcessExit } from "../../process/start-process.ts";
import { type Leader, terminate, terminateGraceMs } from "../../process/terminate.ts";
import type { PythonFinding } from "../../program/find-python.ts";
import { reachesSameServer } from "../../program/hook-script.ts";
import { runLaunchHooks } from "../../program/launch-hooks.ts";
import { isAtLeast } from "../../program/prefect-release.ts";
import type { HookCall } from "../../program/run-hooks.ts";
import type { Ending, Execution, Handle, HookRunner, InfrastructureServices, ReportedEnd } from "../pool-type.ts";
import type { ProcessFacts } from "./process-facts.ts";

/** A program that runs, and what has to be known of it. */
export interface RunningProgram {
  readonly handle: Handle;
  readonly ended: Promise<Ending>;
  /** The process, with its end if it is a child of this one. Null if it does not run any more. */
  readonly leader: Leader | null;
  /** The worker's side of the program's control channel. Undefined without a channel. */
  readonly controlled: ControlledChild | undefined;
  readonly facts: ProcessFacts;
  /** Where and how hooks run. Null if that is not known any more. */
  readonly hookOptions: Pick<HookCall, "cwd" | "env" | "output"> | null;
  readonly services: InfrastructureServices;
}

/** The first release whose engines send heartbeat events. Source: prefect runner/runner.py (3.5). */
const heartbeatsSince = "3.6.13";

/**
 * `prefect flow-run execute` checks for a cancellation every 10 s, gives its engine 30 s, and then runs hooks. The step
 * `kill` ends this wait, because the time limit of that step has no room for it.
 */
const selfCancelMs = 10_000 + terminateGraceMs + 20_000;

/** Returns the execution of a process. The caller disposes of what the process needed. */
export function processExecution(program: RunningProgram): Omit<Execution, typeof Symbol.asyncDispose> {
  const { handle, ended, leader, controlled, facts, hookOptions } = program;
  return {
    handle,
    ended,
    hooks: facts.launch.startsEngine && hookOptions ? hookRunner(program, hookOptions) : null,
    sendsHeartbeats: facts.sendsHeartbeats,
    async stop(why, { kill, leave }) {
      if (why === "cancel") {
        if ((await controlled?.sendIntent("cancel")) === "already concluded") return "had ended";
        if (facts.launch.cancelsItself) await waitAtMost(ended, selfCancelMs, kill);
      }
      if (leader) await terminate(leader, terminateGraceMs, leave);
      return "stopped";
    },
  };
}

/** Returns whether an engine of this Python sends heartbeat events. */
export function sendsHeartbeats(python: PythonFinding): boolean {
  return python.kind === "missing" || isAtLeast(python.engine.prefectVersion, heartbeatsSince);
}

/** Returns how a child ended. */
export function toEnding({ code, signal }: ProcessExit, controlled: ControlledChild | undefined): Ending {
  // Node.js sets one of the two. If both were null, 1 would not count as success.
  const status = signal === null ? (code ?? 1) : -constants.signals[signal];
  return { kind: "exited", status, reported: controlled?.conclusion === undefined ? null : reportedEnd(controlled) };
}

/** Returns the state of the receipt if its type is valid, because any program can connect in the engine's place. */
function reportedEnd({ reported }: ControlledChild): ReportedEnd {
  const { type, name } = reported ?? {};
  return { state: isStateType(type) && name !== undefined ? { type, name } : null };
}

function hookRunner(
  { facts, services }: RunningProgram,
  options: NonNullable<RunningProgram["hookOptions"]>,
): HookRunner {
  const { log } = services;
  return {
    runsItself: facts.launch.runsHooks,
    async run(request) {
      const { kind, flowRun } = request;
      const serverIsKnown = reachesSameServer(options.env, services.processEnvironment());
      try {
        await runLaunchHooks(facts.launch, { ...request, ...options, serverIsKnown });
      } catch (error) {
        const failure = `Runner failed to retrieve flow to execute on_${kind} hooks for flow run '${flowRun.id}'.`;
        log.warn({ err: error, flow_run_id: flowRun.id }, failure);
      }
    },
  };
}
