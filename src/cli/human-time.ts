// Says how far away a time is, in the words of Prefect. Source: pendulum formatting/difference_formatter.py.

/**
 * Returns a text such as `2 hours ago` or `in 3 days`. Counts months and years by the calendar. Times in milliseconds since
 * 1970.
 */
export function humanDifference(time: number, now: number): string {
  const [count, unit] = largestUnit(new Date(Math.min(time, now)), new Date(Math.max(time, now)));
  const amount = unit === null ? "a few seconds" : `${count} ${unit}${count === 1 ? "" : "s"}`;
  return time > now ? `in ${amount}` : `${amount} ago`;
}

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Returns the largest unit of the time between, rounded up if little is missing. A null unit is less than 11 seconds. */
function largestUnit(from: Date, to: Date): [number, string | null] {
  const months = wholeMonths(from, to);
  let restMs = to.getTime() - addMonths(from, months).getTime();
  const days = Math.floor(restMs / dayMs);
  restMs -= days * dayMs;
  const years = Math.floor(months / 12);
  if (years > 0) return [years + (months % 12 > 6 ? 1 : 0), "year"];
  if (months === 11 && days > 15) return [1, "year"];
  if (months > 0) return [months + (days >= 27 ? 1 : 0), "month"];
  if (days >= 7) return [Math.floor(days / 7) + (days % 7 > 3 ? 1 : 0), "week"];
  const hours = Math.floor(restMs / hourMs);
  if (days > 0) return [days + (hours >= 22 ? 1 : 0), "day"];
  if (hours > 0) return [hours, "hour"];
  if (restMs >= minuteMs) return [Math.floor(restMs / minuteMs), "minute"];
  const seconds = Math.floor(restMs / secondMs);
  return seconds > 10 ? [seconds, "second"] : [seconds, null];
}

function wholeMonths(from: Date, to: Date): number {
  const months = (to.getUTCFullYear() - from.getUTCFullYear()) * 12 + to.getUTCMonth() - from.getUTCMonth();
  return addMonths(from, months) > to ? months - 1 : months;
}

function addMonths(date: Date, months: number): Date {
  const moved = new Date(date);
  moved.setUTCDate(1);
  moved.setUTCMonth(moved.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(moved.getUTCFullYear(), moved.getUTCMonth() + 1, 0)).getUTCDate();
  moved.setUTCDate(Math.min(date.getUTCDate(), lastDay));
  return moved;
}
