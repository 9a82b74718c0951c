// Creates and changes elements of the page. Sets texts only as text nodes, never as HTML, because users choose names.

/** Returns a new element with these attributes and children. A string becomes a text node. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  return fill(document.createElement(name), attributes, children);
}

/** Returns a new SVG element with these attributes and children. */
export function svgElement(
  name: "svg" | "rect" | "line" | "text" | "title",
  attributes: Readonly<Record<string, string | number>> = {},
  ...children: readonly (Node | string)[]
): SVGElement {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill<Filled extends Element>(
  node: Filled,
  attributes: Readonly<Record<string, string | number>>,
  children: readonly (Node | string)[],
): Filled {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** Returns the element of the page with this id. Throws if there is none. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** Shows `children` in the element. Does nothing if it already shows the same, so that selected text stays selected. */
export function show(id: string, ...children: readonly (Node | string)[]): void {
  const current = byId(id);
  const next = current.cloneNode(false);
  for (const child of children) next.appendChild(typeof child === "string" ? document.createTextNode(child) : child);
  if (next.isEqualNode(current)) return;
  const focused = current.contains(document.activeElement) ? document.activeElement?.id : "";
  current.replaceChildren(...next.childNodes);
  // The keyboard goes on where it was.
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** A column of a table. Small screens do not show `wide` columns. */
export interface Column<Row> {
  title: string;
  kind?: "wide" | "number" | "wide number";
  cell: (row: Row) => Node | string;
}

/** Returns a table whose first column names the rows. Without rows, returns a paragraph with `ifEmpty`. */
export function table<Row>(
  caption: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  ifEmpty: string,
): HTMLElement {
  if (rows.length === 0) return element("p", { class: "muted" }, ifEmpty);
  const kindOf = ({ kind }: Column<Row>): Record<string, string> => (kind ? { class: kind } : {});
  const head = columns.map((column) => element("th", { scope: "col", ...kindOf(column) }, column.title));
  const body = rows.map((row) =>
    element(
      "tr",
      {},
      ...columns.map((column, index) =>
        index === 0
          ? element("th", { scope: "row" }, column.cell(row))
          : element("td", { ...kindOf(column), "data-title": column.title }, column.cell(row)),
      ),
    ),
  );
  return element(
    "table",
    {},
    element("caption", { class: "unseen" }, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
}
