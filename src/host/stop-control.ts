// How the program ends, step by step. Signals, the control socket and time limits request the steps here.
import type { StopSignals } from "../run/run-context.ts";

/** The steps in order: take no new flow runs, end those in flight, exit at once. */
export const stopSteps = ["drain", "kill", "leave"] as const;

/** One of the stop steps. */
export type StopStep = (typeof stopSteps)[number];

/** Why a step was requested. The message completes "Worker 'w' …", for example "received SIGTERM". */
export class StopRequested extends Error {
  override readonly name = "StopRequested";
  constructor(
    message: string,
    /** The exit code if the process exits at once. */
    readonly exitCode: number,
  ) {
    super(message);
  }
}

/** The steps as abort signals. Each aborts once, with a StopRequested. A step includes the steps before it. */
export interface StopControl extends StopSignals {
  /** Takes a step and the steps before it. Does nothing for a step that was taken before. */
  request(step: StopStep, reason: StopRequested): void;
}

/** Requests the step `kill` when a drain has lasted `seconds`. The timer does not keep the program alive. */
export function limitDrain(stop: StopControl, seconds: number): void {
  const reason = new StopRequested(`reached its drain timeout of ${seconds} s`, 1);
  const onDrain = (): void => void setTimeout(() => stop.request("kill", reason), seconds * 1000).unref();
  stop.drain.addEventListener("abort", onDrain, { once: true });
}

/** Returns a StopControl on which no step has been taken. */
export function createStopControl(): StopControl {
  const controllers = { drain: new AbortController(), kill: new AbortController(), leave: new AbortController() };
  return {
    drain: controllers.drain.signal,
    kill: controllers.kill.signal,
    leave: controllers.leave.signal,
    request(step, reason) {
      for (const each of stopSteps.slice(0, stopSteps.indexOf(step) + 1)) controllers[each].abort(reason);
    },
  };
}
