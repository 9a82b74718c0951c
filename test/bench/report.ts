// The results of the bench: the table, and the files below bench/.
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { inCheckout } from "../support/checkout.ts";
import { markdownTable } from "../support/markdown-table.ts";
import type { Row } from "./bench-context.ts";
import { barChart } from "./charts.ts";
import type { Limits } from "./measure-limits.ts";
import { formatSamples, median } from "./statistics.ts";

/** All that one run of the bench found out, and about what. */
export interface Results {
  date: string;
  machine: string;
  versions: { lictor: string; node: string; prefect: string; database: string };
  isQuick: boolean;
  limits: Limits | null;
  rows: readonly Row[];
}

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

/** Writes bench/results.json and the charts. Returns the names of the files. */
export async function writeResults(results: Results): Promise<string[]> {
  const directory = inCheckout("bench");
  await mkdir(directory, { recursive: true });
  const files = new Map([["results.json", `${JSON.stringify(results, null, 2)}\n`], ...chartsOf(results)]);
  for (const [name, text] of files) await writeFile(join(directory, name), text);
  return [...files.keys()].map((name) => `bench/${name}`);
}
