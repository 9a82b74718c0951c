// Prints tables, and the fields of one thing.
import type { JsonObject } from "../api/wire.ts";
import type { ProgramContext } from "./program-context.ts";
import { drawTable, type Table } from "./table.ts";
import { print } from "./terminal.ts";

/** Writes a table, with colours on a terminal. */
export function printTable({ settings, wantsColours }: ProgramContext, table: Table): void {
  const isColoured = process.stdout.isTTY === true && wantsColours && settings.values.PREFECT_CLI_COLORS;
  print(...drawTable(table, isColoured));
}

/** Writes one field per line: `name: value`. */
export function printFields(fields: JsonObject): void {
  print(...Object.entries(fields).map(([name, value]) => `${name}: ${fieldText(value)}`));
}

function fieldText(value: unknown): string {
  if (value === null) return "None";
  return typeof value === "object" ? JSON.stringify(value, null, 2) : String(value);
}
