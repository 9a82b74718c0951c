// SIGINT and SIGTERM: the first asks the worker to stop, the second to end its flow runs, the third to leave at once.
import { constants } from "node:os";

/** The wishes of the user, one after the other; each aborts once. */
export interface StopSignals extends Disposable {
  /** No new work; wait for what runs. */
  stop: AbortSignal;
  /** End what runs. The reason's message is fit for a state message: "received a second SIGTERM". */
  kill: AbortSignal;
  /** No more waiting: the process exits as soon as those listening have been called. */
  leave: AbortSignal;
}

/** What the last listeners get to send their signals; they are synchronous once resumed. */
const leaveAfterMs = 50;

/** Counts signals from now on; `say` tells the user what each does. */
export function countSignals(say: (message: string) => void): StopSignals {
  const [stop, kill, leave] = [new AbortController(), new AbortController(), new AbortController()];
  let count = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    count++;
    if (count === 1) {
      say(`Received ${signal}. Taking no new flow runs, waiting for running ones to end. Send it again to end them.`);
      stop.abort(new StopRequested(`received ${signal}`));
    } else if (count === 2) {
      say(`Received a second ${signal}. Ending all flow runs. Send it once more to leave at once.`);
      kill.abort(new StopRequested(`received a second ${signal}`));
    } else if (count === 3) {
      leave.abort(new StopRequested(`received a third ${signal}`));
      setTimeout(() => process.exit(128 + constants.signals[signal]), leaveAfterMs);
    }
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    stop: stop.signal,
    kill: kill.signal,
    leave: leave.signal,
    [Symbol.dispose]() {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}

/** Why a signal was aborted: a wish of the user, not a failure. */
export class StopRequested extends Error {
  override readonly name = "StopRequested";
}
