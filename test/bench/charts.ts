// The charts of the README, as SVG text. Colours follow the light or dark scheme of the reader.
import type { Row } from "./bench-context.ts";
import { formatFigure, median } from "./statistics.ts";

const width = 760;
const labelWidth = 300;
const barWidth = 330;
const barHeight = 14;
const rowHeight = 50;
const headHeight = 56;

const style = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .faint { fill: #59636e }
  .lictor { fill: #0969da }
  .reference { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .faint { fill: #9198a1 }
    .lictor { fill: #4493f8 }
    .reference { fill: #656c76 }
  }`;

/** Returns a bar chart. In each row the longer bar has the full width, so that rows of different units fit in one chart. */
export function barChart(title: string, rows: readonly Row[]): string {
  const height = headHeight + rows.length * rowHeight + 8;
  const bars = rows.map((row, index) => drawRow(row, headHeight + index * rowHeight));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(title)}">
<style>${style}
</style>
<text class="title" x="0" y="18">${escapeXml(title)}</text>
<rect class="lictor" x="0" y="30" width="12" height="12" rx="2"/><text x="18" y="41">lictor</text>
<rect class="reference" x="72" y="30" width="12" height="12" rx="2"/><text x="90" y="41">prefect worker</text>
<text class="faint" x="${width}" y="41" text-anchor="end">medians; shorter is better</text>
${bars.join("\n")}
</svg>
`;
}

function drawRow({ what, unit, lictor, reference }: Row, y: number): string {
  const values = { lictor: median(lictor), reference: median(reference) };
  const longest = Math.max(values.lictor, values.reference);
  const bar = (kind: "lictor" | "reference", at: number): string => {
    const length = longest > 0 ? Math.max(2, (values[kind] / longest) * barWidth) : 2;
    const figure = `${formatFigure(values[kind])} ${unit}`.trimEnd();
    return `<rect class="${kind}" x="${labelWidth}" y="${at}" width="${length.toFixed(1)}" height="${barHeight}" rx="2"/><text class="faint" x="${(labelWidth + length + 8).toFixed(1)}" y="${at + 12}">${escapeXml(figure)}</text>`;
  };
  return `<text x="${labelWidth - 12}" y="${y + 22}" text-anchor="end">${escapeXml(what)}</text>${bar("lictor", y + 2)}${bar("reference", y + 2 + barHeight + 3)}`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
