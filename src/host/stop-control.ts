// How a program ends, step by step. Signals, the control socket and time limits all ask here.
import type { StopSignals } from "../run/run-context.ts";

/** The steps, mildest first: take no new flow runs, end those that run, wait for nothing any more. */
export const stopSteps = ["drain", "kill", "leave"] as const;

/** One of the steps. */
export type StopStep = (typeof stopSteps)[number];

/** Why a step was asked for; the message completes "Worker 'w' …", as in "received SIGTERM". */
export class StopRequested extends Error {
  override readonly name = "StopRequested";
  constructor(
    message: string,
    /** What the process exits with when it has to leave at once. */
    readonly exitCode: number,
  ) {
    super(message);
  }
}

/** The steps as signals; each aborts once, with a StopRequested. A step includes the milder ones. */
export interface StopControl extends StopSignals {
  /** Takes a step; nothing happens if it was taken before. */
  ask(step: StopStep, reason: StopRequested): void;
}

/** Takes the step `kill` when a drain has lasted `seconds`. The timer keeps no program alive. */
export function limitDrain(stop: StopControl, seconds: number): void {
  const reason = new StopRequested(`reached its drain timeout of ${seconds} s`, 1);
  const onDrain = (): void => void setTimeout(() => stop.ask("kill", reason), seconds * 1000).unref();
  stop.drain.addEventListener("abort", onDrain, { once: true });
}

/** A program that goes on. */
export function createStopControl(): StopControl {
  const controllers = { drain: new AbortController(), kill: new AbortController(), leave: new AbortController() };
  return {
    drain: controllers.drain.signal,
    kill: controllers.kill.signal,
    leave: controllers.leave.signal,
    ask(step, reason) {
      for (const each of stopSteps.slice(0, stopSteps.indexOf(step) + 1)) controllers[each].abort(reason);
    },
  };
}
