// What the bench makes of its samples: figures, the table and the charts.
import { expect, test } from "vitest";
import { barChart } from "../bench/charts.ts";
import { chartsOf, type MeasuredRow, mergeResults, type Results, resultTable } from "../bench/report.ts";
import { formatFigure, formatSamples, median, quantile } from "../bench/statistics.ts";

const row: MeasuredRow = {
  date: "2030-01-01T00:00:00.000Z",
  name: "latency",
  what: 'created → "Pending" & more',
  unit: "ms",
  lictor: [10, 20, 30],
  reference: [100, 400],
  goal: { text: "30 x faster", isMet: false },
};

const results: Results = {
  machine: "1 x CPU",
  versions: { lictor: "1", node: "20", prefect: "3", database: "sqlite" },
  limits: null,
  rows: [row, { ...row, name: "idle", what: "CPU", unit: "%", lictor: [0.1], reference: [1.23456], goal: null }],
};

test("quantiles are interpolated", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([1, 2])).toBe(1.5);
  expect(quantile([1, 2, 3, 4, 5], 0.25)).toBe(2);
  expect(median([])).toBeNaN();
});

test.each([
  [0, "0"],
  [0.1234, "0.12"],
  [1.239, "1.24"],
  [23.45, "23.4"],
  [123.4, "123"],
  [4567.8, "4568"],
  [Number.NaN, "-"],
])("%d is shown as %s", (value, text) => {
  expect(formatFigure(value)).toBe(text);
});

test("rows of an earlier run stay in their place, unless they were measured anew or elsewhere", () => {
  const order = ["latency", "idle"];
  const names = ({ rows }: Results): string[] => rows.map(({ name, date }) => `${name} ${date.slice(0, 4)}`);
  const later: Results = { ...results, rows: [{ ...row, date: "2031-01-01T00:00:00.000Z" }] };
  expect(names(mergeResults(results, later, order))).toEqual(["latency 2031", "idle 2030"]);
  expect(names(mergeResults(results, { ...later, machine: "2 x CPU" }, order))).toEqual(["latency 2031"]);
});

test("several samples are shown with their middle half, one is not", () => {
  expect(formatSamples([10, 20, 30], "ms")).toBe("20.0 ms (15.0–25.0)");
  expect(formatSamples([7], "")).toBe("7.00");
});

test("the table has medians, ratio, goal and whether it is met", () => {
  const [, , pending = "", cpu = ""] = resultTable(results).split("\n");
  const cells = (line: string): string[] =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  expect(cells(pending)).toEqual([
    'created → "Pending" & more',
    "20.0 ms (15.0–25.0)",
    "250 ms (175–325)",
    "12.5 x",
    "30 x faster",
    "no",
  ]);
  expect(cells(cpu).slice(3)).toEqual(["12.3 x", "", ""]);
});

test("a chart has a bar and a figure for each worker, in both colour schemes, and its text is escaped", () => {
  const chart = barChart("A & B", [row]);
  expect(chart).toContain("A &#38; B");
  expect(chart).toContain("created → &#34;Pending&#34; &#38; more");
  expect(chart.match(/<rect class="(lictor|reference)"[^>]* height="14"/g)).toHaveLength(2);
  expect(chart).toContain("prefers-color-scheme: dark");
  const widths = [...chart.matchAll(/width="([\d.]+)" height="14"/g)].map(([, width]) => Number(width));
  expect(widths).toEqual([26.4, 330]);
});

test("there is a chart for each group of rows that was measured", () => {
  expect([...chartsOf(results).keys()]).toEqual(["flow-runs.svg", "worker.svg"]);
});
