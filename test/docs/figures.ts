// The figures of the README, from the results that `npm run bench` has written.
import { readFile } from "node:fs/promises";
import type { Results } from "../bench/report.ts";
import { formatFigure, median } from "../bench/statistics.ts";
import { inCheckout } from "../support/checkout.ts";
import { markdownTable } from "../support/markdown-table.ts";

const begin = "<!-- Figures, written by `npm run docs` from bench/results.json -->";
const end = "<!-- End of figures -->";

/** Returns the README with the figures of bench/results.json. Throws if it has no place for them. */
export async function readmeWithFigures(readme: string): Promise<string> {
  const results = JSON.parse(await readFile(inCheckout("bench/results.json"), "utf8")) as Results;
  const [before, rest] = readme.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error("README.md has no place for figures.");
  return `${before}${begin}\n${figures(results)}\n${end}${after}`;
}

function figures({ machine, versions, rows }: Results): string {
  const table = markdownTable(
    ["median", "lictor", "prefect worker", "ratio"],
    rows.map(({ what, unit, lictor, reference }) => [
      what,
      `${formatFigure(median(lictor))} ${unit}`.trim(),
      `${formatFigure(median(reference))} ${unit}`.trim(),
      `${(median(reference) / median(lictor)).toFixed(1)} x`,
    ]),
  );
  const dates = rows.map(({ date }) => date.slice(0, 10)).sort();
  const about = `Prefect ${versions.prefect} on ${versions.database}, Node.js ${versions.node}, all on one machine: ${machine}. ${dates.at(-1)}.`;
  return `![Flow runs: how soon they are taken and run](bench/flow-runs.svg)\n\n${table}\n\n${about}`;
}
