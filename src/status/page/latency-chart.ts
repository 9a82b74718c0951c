// The chart of latencies, newest to the right. A table shows the same to people who cannot see the chart.
import { element, svgElement, table } from "./elements.ts";
import { formatDuration, formatTime, medianOf } from "./format.ts";
import type { LatencyStatus } from "./status-json.ts";

const heightPx = 180;
/** Space for the numbers at the left, and for half a line of text above and below. */
const margin = { left: 48, right: 8, top: 10, bottom: 8 };
const maxBarPx = 16;
const minBarPx = 2;

/** Returns the chart, `widthPx` wide, and its table. `isOpen` tells whether the table is open. */
export function latencyChart(
  samples: readonly LatencyStatus[],
  { widthPx, isOpen, today }: { widthPx: number; isOpen: boolean; today: number },
): HTMLElement[] {
  const median = medianOf(samples.map(({ ms }) => ms));
  if (median === undefined) {
    return [element("figcaption", {}, "No flow run has been Running yet, or no event has reported it.")];
  }
  const slowest = Math.max(...samples.map(({ ms }) => ms));
  const count = samples.length === 1 ? "the last flow run" : `the last ${samples.length} flow runs`;
  const summary = `Median ${formatDuration(median)}, slowest ${formatDuration(slowest)} of ${count}.`;
  const drawing = element(
    "div",
    { role: "img", "aria-label": `Bar chart. ${summary}` },
    draw(samples, widthPx, median),
  );
  const asTable = table(
    "Time to Running, newest first",
    [
      { title: "Flow run", cell: ({ name }) => name },
      { title: "Running at", cell: ({ at }) => formatTime(at, today) },
      { title: "After", kind: "number", cell: ({ ms }) => formatDuration(ms) },
    ],
    [...samples].reverse(),
    "",
  );
  const explanation = " Each bar is one flow run, from its creation (or the time it was scheduled for) until Running.";
  return [
    drawing,
    element("figcaption", {}, element("strong", {}, summary), explanation),
    element(
      "details",
      isOpen ? { open: "" } : {},
      element("summary", { id: "latency-table" }, "The same as a table"),
      asTable,
    ),
  ];
}

function draw(samples: readonly LatencyStatus[], widthPx: number, median: number): SVGElement {
  const step = stepFor(Math.max(...samples.map(({ ms }) => ms)));
  const steps = Math.max(1, Math.ceil(Math.max(...samples.map(({ ms }) => ms)) / step));
  const plot = { width: widthPx - margin.left - margin.right, height: heightPx - margin.top - margin.bottom };
  const yOf = (ms: number): number => margin.top + plot.height * (1 - ms / (step * steps));
  const line = (ms: number, className: string): SVGElement =>
    svgElement("line", { class: className, x1: margin.left, x2: widthPx - margin.right, y1: yOf(ms), y2: yOf(ms) });
  const grid = Array.from({ length: steps + 1 }, (_, index) => index * step).flatMap((ms) => [
    line(ms, "grid"),
    svgElement("text", { x: margin.left - 8, y: yOf(ms) + 4, "text-anchor": "end" }, `${ms / 1000} s`),
  ]);
  const room = Math.min(maxBarPx, plot.width / samples.length);
  const bars = samples.map(({ name, ms }, index) => {
    const height = Math.max(minBarPx, yOf(0) - yOf(ms));
    const x = widthPx - margin.right - room * (samples.length - index);
    const box = { x, y: yOf(0) - height, width: room * 0.75, height, rx: Math.min(2, room / 4) };
    return svgElement("rect", { class: "bar", ...box }, svgElement("title", {}, `${name}: ${formatDuration(ms)}`));
  });
  return svgElement("svg", { viewBox: `0 0 ${widthPx} ${heightPx}` }, ...grid, ...bars, line(median, "median"));
}

/** Returns a round step in milliseconds, with at most five steps up to `highest`. */
function stepFor(highest: number): number {
  const least = Math.max(highest, 100) / 5;
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}
