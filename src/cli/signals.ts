// Signals of the system as steps of the program's end: the first asks to drain, the second to kill, the third to leave.
import { constants } from "node:os";
import { monotonicMs } from "../async/clock.ts";
import { type StopControl, StopRequested, type StopStep, stopSteps } from "../host/stop-control.ts";

/** SIGHUP is a terminal that was closed, SIGQUIT is Ctrl-\: flow runs must survive both as they survive SIGTERM. */
const watchedSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Wrappers and terminals deliver one Ctrl-C twice, and supervisors send SIGHUP right after SIGTERM. Signals within this
 * time after one that counted are the same wish.
 */
const sameWishMs = 1_000;

/** What the last listeners get to send their signals. They are synchronous once resumed. */
const leaveAfterMs = 50;

const effects: Readonly<Record<StopStep, string>> = {
  drain: "Taking no new flow runs, waiting for running ones to end. Send it again to end them.",
  kill: "Ending all flow runs. Send it once more to leave at once.",
  leave: "Leaving at once.",
};
const ordinals: Readonly<Record<StopStep, string>> = { drain: "", kill: "a second ", leave: "a third " };

/**
 * Turns signals into steps until it is disposed, and exits the process when the last step is taken, by whomever. `say`
 * tells the user what each signal does.
 */
export function watchSignals(stop: StopControl, say: (message: string) => void): Disposable {
  let count = 0;
  let countedAt = Number.NEGATIVE_INFINITY;
  const onSignal = (signal: NodeJS.Signals): void => {
    const step = stopSteps[count];
    if (monotonicMs() - countedAt < sameWishMs || step === undefined) return;
    countedAt = monotonicMs();
    count++;
    const received = `received ${ordinals[step]}${signal}`;
    say(`R${received.slice(1)}. ${effects[step]}`);
    stop.request(step, new StopRequested(received, 128 + constants.signals[signal]));
  };
  for (const signal of watchedSignals) process.on(signal, onSignal);
  stop.leave.addEventListener("abort", () => {
    setTimeout(() => process.exit((stop.leave.reason as StopRequested).exitCode), leaveAfterMs);
  });
  return {
    [Symbol.dispose]() {
      for (const signal of watchedSignals) process.off(signal, onSignal);
    },
  };
}
