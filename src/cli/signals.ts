// Turns signals into stop steps: the first signal requests drain, the second kill, and the third leave.
import { constants } from "node:os";
import { monotonicMs } from "../async/clock.ts";
import { type StopControl, StopRequested, type StopStep, stopSteps } from "../host/stop-control.ts";

/** SIGHUP comes from a closed terminal, and SIGQUIT from Ctrl-\. Flow runs must survive both, like SIGTERM. */
const watchedSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Wrappers and terminals deliver one Ctrl-C twice, and supervisors send SIGHUP right after SIGTERM. Signals within this
 * time after one that counted are the same wish.
 */
const sameWishMs = 1_000;

/** The time for listeners of `leave` to signal processes before the exit. */
const exitDelayMs = 50;

const effects: Readonly<Record<StopStep, string>> = {
  drain: "Taking no new flow runs, waiting for running ones to end. Send it again to end them.",
  kill: "Ending all flow runs. Send it once more to leave at once.",
  leave: "Leaving at once.",
};
const ordinals: Readonly<Record<StopStep, string>> = { drain: "", kill: "a second ", leave: "a third " };

/**
 * Requests a stop step for each signal until it is disposed. Exits the process after the last step, even if something
 * else requested it. `report` gets a message about the effect of each signal.
 */
export function watchSignals(stop: StopControl, report: (message: string) => void): Disposable {
  let count = 0;
  let countedAt = Number.NEGATIVE_INFINITY;
  const onSignal = (signal: NodeJS.Signals): void => {
    const step = stopSteps[count];
    if (monotonicMs() - countedAt < sameWishMs || step === undefined) return;
    countedAt = monotonicMs();
    count++;
    const received = `received ${ordinals[step]}${signal}`;
    report(`R${received.slice(1)}. ${effects[step]}`);
    stop.request(step, new StopRequested(received, 128 + constants.signals[signal]));
  };
  for (const signal of watchedSignals) process.on(signal, onSignal);
  stop.leave.addEventListener("abort", () => {
    setTimeout(() => process.exit((stop.leave.reason as StopRequested).exitCode), exitDelayMs);
  });
  return {
    [Symbol.dispose]() {
      for (const signal of watchedSignals) process.off(signal, onSignal);
    },
  };
}
