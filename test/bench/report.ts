// The results of the bench: the table, and the files below bench/.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { inCheckout } from "../support/checkout.ts";
import { markdownTable } from "../support/markdown-table.ts";
import type { Row } from "./bench-context.ts";
import { barChart } from "./charts.ts";
import type { Limits } from "./measure-limits.ts";
import { formatSamples, median } from "./statistics.ts";

/** What was found out about lictor and the reference, on which machine and with which versions. */
export interface Results {
  machine: string;
  versions: { lictor: string; node: string; prefect: string; database: string };
  limits: Limits | null;
  rows: readonly MeasuredRow[];
}

/** `date` is when the measurement ended, in ISO 8601. */
export type MeasuredRow = Row & { date: string };

/** What the machine is. */
export function describeMachine(): string {
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${cpus().length} x ${cpu?.model.trim()}, ${memory}, ${process.platform} ${process.arch}`;
}

/** The table of medians, with the middle half of the samples, the ratio and the goal. */
export function resultTable({ rows }: Results): string {
  return markdownTable(
    ["", "lictor", "prefect worker", "ratio", "goal", "met"],
    rows.map(({ what, unit, lictor, reference, goal }) => [
      what,
      formatSamples(lictor, unit),
      formatSamples(reference, unit),
      `${(median(reference) / median(lictor)).toFixed(1)} x`,
      goal?.text ?? "",
      goal === null ? "" : goal.isMet ? "yes" : "no",
    ]),
  );
}

/** The charts, by the names of their files. A chart without rows is left out. */
export function chartsOf({ rows }: Results): Map<string, string> {
  const named = (...names: string[]): Row[] => rows.filter(({ name }) => names.includes(name));
  const charts: [string, string, Row[]][] = [
    [
      "flow-runs.svg",
      "Flow runs: how soon they are taken, run and completed",
      named("latency", "burst", "backlog").filter(({ unit }) => unit !== "/s"),
    ],
    ["worker.svg", "The worker itself: start, idle, and under load", named("start", "idle", "in-flight", "requests")],
    ["growth.svg", "Growth with scheduled flow runs and workers", named("growth")],
  ];
  return new Map(charts.flatMap(([file, title, of]) => (of.length === 0 ? [] : [[file, barChart(title, of)]])));
}

/**
 * Writes the results and the charts into the folder bench/. Rows of measurements that were left out are kept from before if
 * machine and versions are the same. `order` are the names of all measurements. Charts are of SQLite, the database of a
 * fresh install. Returns the names of the files.
 */
export async function writeResults(results: Results, order: readonly string[]): Promise<string[]> {
  const directory = inCheckout("bench");
  await mkdir(directory, { recursive: true });
  const { database } = results.versions;
  const file = database === "sqlite" ? "results.json" : `results-${database}.json`;
  const before = await readFile(join(directory, file), "utf8").then(
    (text) => JSON.parse(text) as Results,
    () => undefined,
  );
  const merged = before === undefined ? results : mergeResults(before, results, order);
  const charts = database === "sqlite" ? chartsOf(merged) : new Map<string, string>();
  const files = new Map([[file, `${JSON.stringify(merged, null, 2)}\n`], ...charts]);
  for (const [name, text] of files) await writeFile(join(directory, name), text);
  return [...files.keys()].map((name) => `bench/${name}`);
}

/** Returns the new results, with rows from before that were not measured anew under the same conditions. */
export function mergeResults(before: Results, results: Results, order: readonly string[]): Results {
  const isSame =
    JSON.stringify([before.machine, before.versions]) === JSON.stringify([results.machine, results.versions]);
  if (!isSame) return results;
  const measured = new Set(results.rows.map(({ name }) => name));
  const rows = [...before.rows.filter(({ name }) => !measured.has(name)), ...results.rows];
  return {
    ...results,
    limits: results.limits ?? before.limits,
    rows: rows.sort((one, other) => order.indexOf(one.name) - order.indexOf(other.name)),
  };
}
