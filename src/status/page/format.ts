// Formats times and durations for people.

/** Returns a duration as `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min` or `3 d 4 h`. `decimals` applies below 10 s. */
export function formatDuration(ms: number, decimals: 0 | 1 = 1): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(decimals)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Returns the local time of day, with the date unless it is the date of `today`. Both are milliseconds since 1970. */
export function formatTime(at: number, today: number): string {
  const date = new Date(at);
  const time = date.toLocaleTimeString();
  return date.toDateString() === new Date(today).toDateString() ? time : `${date.toLocaleDateString()} ${time}`;
}

/** Returns the median. For an even count, returns the lower of the middle two. Returns undefined for an empty list. */
export function medianOf(numbers: readonly number[]): number | undefined {
  return [...numbers].sort((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)];
}
