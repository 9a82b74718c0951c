// The execution of one flow run as a child process: how it ends, how it is stopped, and who runs the hooks of its flow.
import { constants } from "node:os";
import { isStateType } from "../../api/wire.ts";
import { waitAtMost } from "../../async/sleep.ts";
import type { ControlledChild } from "../../process/control-channel.ts";
import type { ProcessExit, StartedProcess } from "../../process/start-process.ts";
import { terminate, terminateGraceMs } from "../../process/terminate.ts";
import type { PythonFinding } from "../../program/find-python.ts";
import { reachesSameServer } from "../../program/hook-script.ts";
import type { Launch } from "../../program/launch.ts";
import { isAtLeast } from "../../program/prefect-release.ts";
import type { HookCall } from "../../program/run-hooks.ts";
import type { Ending, Execution, HookRunner, InfrastructureServices, ReportedEnd } from "../pool-type.ts";

/** A child that was started, and the options of its start. */
export interface StartedChild {
  child: StartedProcess;
  /** The worker's side of the child's control channel. Undefined if the channel could not be opened. */
  controlled: ControlledChild | undefined;
  launch: Launch;
  childOptions: Pick<HookCall, "cwd" | "env" | "output">;
  python: PythonFinding;
  flowRunId: string;
  services: InfrastructureServices;
}

/** The first release whose engines send heartbeat events. Source: prefect runner/runner.py (3.5). */
const heartbeatsSince = "3.6.13";

/** `prefect flow-run execute` checks for a cancellation every 10 s, gives its engine 30 s, and then runs hooks. */
const selfCancelMs = 10_000 + terminateGraceMs + 20_000;

/** Returns the execution of a child process. The caller that started the child disposes of what it needed. */
export function processExecution(started: StartedChild): Omit<Execution, typeof Symbol.asyncDispose> {
  const { child, controlled, launch, python, flowRunId } = started;
  return {
    handle: { poolType: "process", identifier: String(child.pid), proof: { flowRunId } },
    ended: child.exited.then((exit) => toEnding(exit, controlled)),
    hooks: launch.startsEngine ? hookRunner(started) : null,
    sendsHeartbeats: python.kind === "missing" || isAtLeast(python.engine.prefectVersion, heartbeatsSince),
    async stop(why, now) {
      if (why === "cancel") {
        if ((await controlled?.sendIntent("cancel")) === "already concluded") return "had ended";
        if (launch.cancelsItself) await waitAtMost(child.exited, selfCancelMs, now);
      }
      await terminate(child, terminateGraceMs, now);
      return "stopped";
    },
  };
}

function toEnding({ code, signal }: ProcessExit, controlled: ControlledChild | undefined): Ending {
  // Node.js sets one of the two. If both were null, 1 would not count as success.
  const status = signal === null ? (code ?? 1) : -constants.signals[signal];
  return { kind: "exited", status, reported: controlled?.conclusion === undefined ? null : reportedEnd(controlled) };
}

/** Returns the state of the receipt if its type is valid, because any program can connect in the engine's place. */
function reportedEnd({ reported }: ControlledChild): ReportedEnd {
  const { type, name } = reported ?? {};
  return { state: isStateType(type) && name !== undefined ? { type, name } : null };
}

function hookRunner({ launch, childOptions, services }: StartedChild): HookRunner {
  const { log } = services;
  return {
    runsItself: launch.runsHooks,
    async run(request) {
      const { kind, flowRun } = request;
      const serverIsKnown = reachesSameServer(childOptions.env, services.processEnvironment());
      try {
        await launch.runHooks({ ...request, ...childOptions, serverIsKnown });
      } catch (error) {
        const failure = `Runner failed to retrieve flow to execute on_${kind} hooks for flow run '${flowRun.id}'.`;
        log.warn({ err: error, flow_run_id: flowRun.id }, failure);
      }
    },
  };
}
