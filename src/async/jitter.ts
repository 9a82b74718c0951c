// Random variation of waits, so that many workers do not send their requests at once.

/**
 * Returns a random wait in milliseconds, with a mean close to `averageMs`. The distribution is exponential. Clamping
 * both tails keeps the mean close to the average. With factor 0.3 the wait is 0.752 to 1.3 of it. `random` returns [0,
 * 1).
 * Source: prefect utilities/math.py clamped_poisson_interval.
 */
export function clampedPoissonMs(averageMs: number, factor: number, random: () => number): number {
  if (averageMs <= 0) return 0;
  if (factor <= 0) return averageMs;
  const k = 1 + factor;
  const upper = averageMs * k;
  const lower = averageMs * Math.log2(2 ** k / (2 ** k - 1));
  const cumulative = (x: number): number => 1 - Math.exp(-x / averageMs);
  const draw = cumulative(lower) + random() * (cumulative(upper) - cumulative(lower));
  return -Math.log(1 - draw) * averageMs;
}
