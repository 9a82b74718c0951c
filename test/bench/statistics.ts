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

/** A figure with three significant digits, and more only before the point. */
export function formatFigure(value: number): string {
  if (Number.isNaN(value)) return "-";
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 2));
}

/** The median, with the middle half of the samples if there are several. */
export function formatSamples(values: readonly number[], unit: string): string {
  if (values.length === 0) return "-";
  const middle = `${formatFigure(median(values))} ${unit}`.trimEnd();
  if (values.length === 1) return middle;
  return `${middle} (${formatFigure(quantile(values, 0.25))}–${formatFigure(quantile(values, 0.75))})`;
}
