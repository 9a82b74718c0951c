// The few statistics that the bench reports.

/** The value below which the fraction `q` of the values lies, interpolated; NaN for none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * q;
  const lower = sorted[Math.floor(position)] ?? Number.NaN;
  const upper = sorted[Math.ceil(position)] ?? Number.NaN;
  return lower + (upper - lower) * (position % 1);
}

/** The middle value, interpolated. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** What a figure counts; nothing for a plain number. */
export type Quantity = "ms" | "MiB" | "";

/** A figure with its unit, to a tenth but for times. */
export function formatQuantity(value: number, unit: Quantity): string {
  return `${unit === "ms" ? Math.round(value) : value.toFixed(1)} ${unit}`.trimEnd();
}
