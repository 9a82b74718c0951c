// The execution of one flow run as a child process: how it ends, how it is stopped, and who runs the hooks of its flow.
import { constants } from "node:os";
import { isStateType } from "../../api/wire.ts";
import type { AsyncDisposables } from "../../async/async-disposables.ts";
import { waitAtMost } from "../../async/sleep.ts";
import type { ControlledChild } from "../../process/control-channel.ts";
import { endLeftovers } from "../../process/leftovers.ts";
import type { ProcessExit } from "../../process/start-process.ts";
import { type Leader, terminate, terminateGraceMs } from "../../process/terminate.ts";
import type { PythonFinding } from "../../program/find-python.ts";
import { selfCancelMs } from "../../program/launch.ts";
import { isAtLeast } from "../../program/prefect-release.ts";
import type { Ending, Execution, Handle, ReportedEnd, StopLimits } from "../execution.ts";
import type { InfrastructureServices } from "../pool-type.ts";
import type { ProcessFacts } from "./process-facts.ts";
import { type HookPlace, hookRunner } from "./process-hooks.ts";
import { fromShell, readResult } from "./reported-program.ts";

/** A program that runs, and what has to be known of it. */
export interface RunningProgram {
  readonly handle: Handle;
  readonly ended: Promise<Ending>;
  /** The process, with its end if it is a child of this one. Null if it does not run any more. */
  readonly leader: Leader | null;
  /** The session of the process. Null if it is not known. */
  readonly session: ProgramSession | null;
  /** The worker's side of the program's control channel. Undefined without a channel. */
  readonly controlled: ControlledChild | undefined;
  readonly facts: ProcessFacts;
  /** Opens the place where hooks run. */
  readonly openHookPlace: (opened: AsyncDisposables) => Promise<HookPlace>;
  readonly services: InfrastructureServices;
}

/** A session. `isOurs` returns whether these processes in it are of the flow run. */
export interface ProgramSession {
  readonly id: number;
  isOurs(pids: readonly number[]): Promise<boolean>;
}

/** Processes that survived the end of a stopped program have already been given its grace time. */
const graceAfterStopMs = 5_000;

/** The first release whose engines send heartbeat events. Source: prefect runner/runner.py (3.5). */
const heartbeatsSince = "3.6.13";

/** Returns the execution of a process. The caller disposes of what the process needed. */
export function processExecution(program: RunningProgram): Omit<Execution, typeof Symbol.asyncDispose> {
  const { handle, ended, facts, services, controlled, openHookPlace } = program;
  let stopping: ReturnType<Execution["stop"]> | null = null;
  return {
    handle,
    started: facts.launch.startsEngine && controlled ? controlled.connected : Promise.resolve(),
    ended,
    hooks: facts.launch.startsEngine ? hookRunner(services, facts.launch.runsHooks, openHookPlace) : null,
    reportsRunning: facts.launch.reportsRunning,
    sendsHeartbeats: facts.sendsHeartbeats,
    readResult: async () => (facts.programDirectory === undefined ? "" : await readResult(facts.programDirectory)),
    stop(why, limits) {
      stopping = stopProgram(program, why, limits);
      return stopping;
    },
    async endLeftovers({ leave }) {
      // A second SIGTERM during the stop would disturb processes that are ending.
      const wasStopped = (await stopping?.catch(() => "stopped")) === "stopped";
      await endSession(program, wasStopped ? graceAfterStopMs : terminateGraceMs, leave);
    },
  };
}

async function stopProgram(
  { ended, leader, controlled, facts }: RunningProgram,
  why: "cancel" | "kill",
  { kill, leave }: StopLimits,
): Promise<"stopped" | "had ended"> {
  if (why === "cancel") {
    if ((await controlled?.sendIntent("cancel")) === "already concluded") return "had ended";
    if (facts.launch.cancelsItself) await waitAtMost(ended, selfCancelMs, kill);
  }
  if (leader) await terminate(leader, terminateGraceMs, leave);
  return "stopped";
}

/** Ends or keeps what is left in the program's session. Never rejects. */
async function endSession(
  { session, facts, services }: RunningProgram,
  graceMs: number,
  now: AbortSignal,
): Promise<void> {
  const { log, keepsOrphans } = services;
  const flowRun = { flow_run_id: facts.flowRunId };
  if (session === null) return;
  const onFound = async (pids: readonly number[]): Promise<boolean> => {
    if (!(await session.isOurs(pids))) return false;
    const effect = keepsOrphans ? "kept, because LICTOR_KEEP_ORPHANS is true" : "being ended";
    log.info(
      flowRun,
      `The flow run left ${describePids(pids)} behind; ${pids.length === 1 ? "it is" : "they are"} ${effect}.`,
    );
    return true;
  };
  try {
    const left = await endLeftovers({ session: session.id, graceMs: keepsOrphans ? null : graceMs, now, onFound });
    if (left.length > 0) log.warn(flowRun, `The flow run left ${describePids(left)} behind that could not be ended.`);
  } catch (error) {
    log.warn({ ...flowRun, err: error }, "Processes that the flow run may have left behind could not be looked for");
  }
}

/** A log record with thousands of pids would help nobody. */
const maxNamedPids = 10;

function describePids(pids: readonly number[]): string {
  const named = pids.slice(0, maxNamedPids).join(", ") + (pids.length > maxNamedPids ? ", …" : "");
  return pids.length === 1 ? `1 process (${named})` : `${pids.length} processes (${named})`;
}

/** Returns whether an engine of this Python sends heartbeat events. */
export function sendsHeartbeats(python: PythonFinding): boolean {
  return python.kind === "missing" || isAtLeast(python.engine.prefectVersion, heartbeatsSince);
}

/** Returns how a child ended. `facts` say whether a shell waited for the program. */
export function toEnding(
  { code, signal }: ProcessExit,
  controlled: ControlledChild | undefined,
  { programDirectory }: ProcessFacts,
): Ending {
  if (programDirectory !== undefined && code !== null) return fromShell(code);
  // Node.js sets one of the two. If both were null, 1 would not count as success.
  const status = signal === null ? (code ?? 1) : -constants.signals[signal];
  return { kind: "exited", status, reported: controlled?.conclusion === undefined ? null : reportedEnd(controlled) };
}

/** Returns the state of the receipt if its type is valid, because any program can connect in the engine's place. */
function reportedEnd({ reported }: ControlledChild): ReportedEnd {
  const { type, name } = reported ?? {};
  return { state: isStateType(type) && name !== undefined ? { type, name } : null };
}
