// The frame of the demo and the bench: an end in order on Ctrl-C, one line for what a user can mend, exit code 1.
import { MissingPythonError } from "./find-python.ts";

/**
 * Runs `main`, whose disposers clean up. SIGINT and SIGTERM abort its signal; it then has to throw or to return soon.
 * A failure goes to standard error, after `failure`, and sets the exit code.
 */
export async function runScript(failure: string, main: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => stop.abort(new Error(`Stopped by ${name}.`)));
  }
  try {
    await main(stop.signal);
    stop.signal.throwIfAborted();
  } catch (error) {
    process.exitCode = 1;
    // After a signal the first failure is only its consequence: a child in the same terminal has got it too.
    if (stop.signal.aborted) console.error((stop.signal.reason as Error).message);
    else if (error instanceof MissingPythonError) console.error(error.message);
    else console.error(`${failure}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
