// The execution of a program that does not run any more, and whose engine ran elsewhere than in a process of this machine.
import type { Ending, Execution, Handle } from "./execution.ts";

/** Returns an execution that has ended. Nothing is left of it, and nobody here can run its hooks. */
export function goneExecution(handle: Handle, ending: Ending): Execution {
  return {
    handle,
    started: Promise.resolve(),
    ended: Promise.resolve(ending),
    hooks: null,
    reportsRunning: true,
    sendsHeartbeats: true,
    stop: async () => "had ended",
    endLeftovers: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}
