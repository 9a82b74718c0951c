// Draws tables as Prefect does, who uses rich. A table is as wide as its content, so that names and ids can be copied.

const colours = { green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36, red: 31 } as const;

/** A colour of a terminal. */
export type Colour = keyof typeof colours;

/** One column. `align` is `left` by default. */
export interface Column {
  header: string;
  align?: "right";
  colour?: Colour;
}

/** A cell: its text, or its text and what follows it in red. */
export type Cell = string | { text: string; mark: string };

/** A table with a title above it and a caption below it. */
export interface Table {
  title?: string;
  caption?: string;
  columns: readonly Column[];
  rows: readonly (readonly Cell[])[];
}

/** Returns the lines of a table. */
export function drawTable({ title, caption, columns, rows }: Table, isColoured: boolean): string[] {
  const paint = (text: string, code: number | undefined) =>
    isColoured && code !== undefined ? `\u001b[${code}m${text}\u001b[0m` : text;
  const widths = columns.map(({ header }, index) =>
    Math.max(...[header, ...rows.map((row) => plainText(row[index] ?? ""))].map((text) => [...text].length)),
  );
  const rule = (left: string, line: string, middle: string, right: string) =>
    left + widths.map((width) => line.repeat(width + 2)).join(middle) + right;
  const row = (cells: readonly Cell[], bar: string, isHeader: boolean) => {
    const painted = cells.map((cell, index) => {
      const { align, colour } = columns[index] ?? {};
      const space = " ".repeat((widths[index] ?? 0) - [...plainText(cell)].length);
      const code = isHeader ? 1 : colour && colours[colour];
      const mark = typeof cell === "string" ? "" : paint(cell.mark, colours.red);
      const text = paint(typeof cell === "string" ? cell : cell.text, code) + mark;
      return align === "right" ? space + text : text + space;
    });
    return `${bar} ${painted.join(` ${bar} `)} ${bar}`;
  };
  const totalWidth = widths.reduce((sum, width) => sum + width + 3, 1);
  const headers = columns.map(({ header }) => header);
  return [
    ...(title === undefined ? [] : [paint(centre(title, totalWidth), 3)]),
    rule("┏", "━", "┳", "┓"),
    row(headers, "┃", true),
    rule("┡", "━", "╇", "┩"),
    ...rows.map((cells) => row(cells, "│", false)),
    rule("└", "─", "┴", "┘"),
    ...(caption === undefined ? [] : [paint(centre(caption, totalWidth), colours.red)]),
  ];
}

function plainText(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.text + cell.mark;
}

function centre(text: string, width: number): string {
  const left = Math.max(0, Math.floor((width - text.length) / 2));
  return (" ".repeat(left) + text).padEnd(width);
}
