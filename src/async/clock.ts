// The two clocks. Durations use the monotonic clock, because the wall clock can be set forwards or back at any time. The
// wall clock is only for times that are shown or sent. A lint rule keeps `Date.now()` out of every other file.

/** Milliseconds on the monotonic clock. Only the difference of two readings means anything. */
export function monotonicMs(): number {
  return performance.now();
}

/** Milliseconds since 1970 on the wall clock, for times that are shown, sent, or compared with the server's. */
export function wallClockMs(): number {
  return Date.now();
}

/** The same moment on both clocks. */
export interface BothClocks {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** This moment on both clocks, to convert times of one into times of the other. */
export function bothClocks(): BothClocks {
  return { wallMs: wallClockMs(), monotonicMs: monotonicMs() };
}
