// The two clocks. Durations use the monotonic clock, because the wall clock may be set forwards or back at any time.
// The wall clock is only for times that are shown or sent. A lint rule forbids `Date.now()` in all other files.

/** Returns milliseconds on the monotonic clock. Only the difference of two readings has a meaning. */
export function monotonicMs(): number {
  return performance.now();
}

/** Returns milliseconds since 1970 on the wall clock, for times that are shown, sent, or compared with server times. */
export function wallClockMs(): number {
  return Date.now();
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
