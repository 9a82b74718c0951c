// The two clocks and the timers. Durations use the monotonic clock, because the wall clock may be set forwards or back at
// any time. The wall clock is only for times that are shown or sent. A lint rule forbids `Date.now()` in all other files.
// A simulation replaces them all with `replaceClock`.

/** The source of time. */
export interface Clock {
  /** Milliseconds since some moment. Setting the wall clock does not change it. */
  monotonicMs(): number;
  /** Milliseconds since 1970. */
  wallClockMs(): number;
  /** Calls `callback` once after `ms` milliseconds. The timer keeps the program alive. Returns what cancels it. */
  startTimer(ms: number, callback: () => void): CancelTimer;
  /** Returns a signal that aborts after `ms` milliseconds with a TimeoutError. It does not keep the program alive. */
  timeoutSignal(ms: number): AbortSignal;
}

/** Cancels a timer. Does nothing after the timer has ended. */
export type CancelTimer = () => void;

/** 24 days in milliseconds. A timer of Node.js that is set for longer fires at once. */
export const longestTimerMs = 2 ** 31 - 1;

const systemClock: Clock = {
  monotonicMs() {
    // The first use of `performance` loads further modules of Node.js, which an idle worker would keep in memory.
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1000 + nanoseconds / 1e6;
  },
  wallClockMs: () => Date.now(),
  startTimer(ms, callback) {
    let timer: NodeJS.Timeout;
    const wait = (leftMs: number): void => {
      const isLast = leftMs <= longestTimerMs;
      // Node.js 24 warns of times below 0. They are normal where a time is computed that may have passed.
      timer = setTimeout(
        isLast ? callback : () => wait(leftMs - longestTimerMs),
        isLast ? Math.max(leftMs, 0) : longestTimerMs,
      );
    };
    wait(ms);
    return () => clearTimeout(timer);
  },
  timeoutSignal: (ms) => AbortSignal.timeout(ms),
};

let clock: Clock = systemClock;

/** Replaces the clock of the whole program. Disposing of the result brings the system's clock back. */
export function replaceClock(replacement: Clock): Disposable {
  clock = replacement;
  return {
    [Symbol.dispose]() {
      clock = systemClock;
    },
  };
}

/** Returns milliseconds on the monotonic clock. Only the difference of two readings has a meaning. */
export function monotonicMs(): number {
  return clock.monotonicMs();
}

/** Returns milliseconds since 1970 on the wall clock, for times that are shown, sent, or compared with server times. */
export function wallClockMs(): number {
  return clock.wallClockMs();
}

/** Calls `callback` once after `ms` milliseconds. The timer keeps the program alive. Returns what cancels it. */
export function startTimer(ms: number, callback: () => void): CancelTimer {
  return clock.startTimer(ms, callback);
}

/** Returns a signal that aborts after `ms` milliseconds with a TimeoutError. It does not keep the program alive. */
export function timeoutSignal(ms: number): AbortSignal {
  return clock.timeoutSignal(ms);
}

/** One moment on both clocks. */
export interface BothClocks {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** Returns this moment on both clocks, for converting times of one clock into times of the other. */
export function bothClocks(): BothClocks {
  return { wallMs: wallClockMs(), monotonicMs: monotonicMs() };
}
