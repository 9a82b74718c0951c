// What `lictor work-pool …` does. Source: prefect cli/work_pool.py.
import { readScheduled, readWorkPool, readWorkPools, setPaused } from "../api/listings.ts";
import type { JsonObject } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { pythonRepr } from "../python-text.ts";
import { openOperatorApi } from "./operator-api.ts";
import type { OutputOption } from "./options.ts";
import { printFields, printTable } from "./output.ts";
import type { ProgramContext } from "./program-context.ts";
import { print, printJson } from "./terminal.ts";

/** `work-pool ls`: prints the work pools, the newest first. */
export async function listWorkPools(
  program: ProgramContext,
  { output, verbose }: OutputOption & { verbose: boolean },
): Promise<void> {
  using open = await openOperatorApi(program);
  const pools = newestFirst(await readWorkPools(open.api));
  if (output === "json") return printJson(pools);
  if (pools.length === 0) return print("No work pools found.");
  printTable(program, {
    title: "Work Pools",
    caption: "(**) denotes a paused pool",
    columns: [
      { header: "Name", colour: "green" },
      { header: "Type", colour: "magenta" },
      { header: "ID", align: "right", colour: "cyan" },
      { header: "Concurrency Limit", colour: "blue" },
      ...(verbose ? [{ header: "Base Job Template", colour: "magenta" } as const] : []),
    ],
    rows: pools.map((pool) => [
      { text: String(pool.name), mark: pool.is_paused ? " (**)" : "" },
      String(pool.type),
      String(pool.id),
      String(pool.concurrency_limit ?? "None"),
      ...(verbose ? [JSON.stringify(pool.base_job_template)] : []),
    ]),
  });
}

/** `work-pool inspect`: prints a work pool. Throws an Error if it does not exist. */
export async function inspectWorkPool(
  program: ProgramContext,
  name: string,
  output: OutputOption["output"],
): Promise<void> {
  using open = await openOperatorApi(program);
  const pool = (await readWorkPool(open.api, name)) ?? throwMissing(name);
  if (output === "json") printJson(pool);
  else printFields(pool);
}

/** `work-pool pause` and `work-pool resume`. Throws an Error if the work pool does not exist. */
export async function pauseWorkPool(program: ProgramContext, name: string, isPaused: boolean): Promise<void> {
  using open = await openOperatorApi(program);
  (await setPaused(open.api, name, isPaused)) ?? throwMissing(name);
  print(`${isPaused ? "Paused" : "Resumed"} work pool ${pythonRepr(name)}`);
}

/** `work-pool preview`: prints the flow runs that are scheduled. Throws an Error if the work pool does not exist. */
export async function previewWorkPool(
  program: ProgramContext,
  name: string,
  { output, hours }: OutputOption & { hours: number },
): Promise<void> {
  using open = await openOperatorApi(program);
  const now = wallClockMs();
  const before = new Date(now + hours * 3_600_000);
  const runs = newestFirst((await readScheduled(open.api, name, before)) ?? throwMissing(name));
  if (output === "json") return printJson(runs);
  if (runs.length === 0) {
    return print("No runs found - try increasing how far into the future you preview with the --hours flag");
  }
  printTable(program, {
    caption: "(**) denotes a late run",
    columns: [
      { header: "Scheduled Start Time", colour: "yellow" },
      { header: "Run ID", colour: "cyan" },
      { header: "Name", colour: "green" },
      { header: "Deployment ID", colour: "blue" },
    ],
    rows: runs.map(({ expected_start_time: time, id, name: runName, deployment_id }) => [
      { text: pythonTime(time), mark: typeof time === "string" && Date.parse(time) < now ? " (**)" : "" },
      String(id),
      String(runName),
      String(deployment_id ?? "None"),
    ]),
  });
}

function newestFirst(items: readonly JsonObject[]): JsonObject[] {
  const createdAt = ({ created }: JsonObject) => Date.parse(String(created));
  return items.toSorted((one, other) => createdAt(other) - createdAt(one));
}

/** Returns a time of the server as Python prints it: `2026-11-30 14:23:33.342575+00:00`. */
function pythonTime(time: unknown): string {
  if (typeof time !== "string") return "None";
  return time.replace("T", " ").replace(/Z$/, "+00:00");
}

function throwMissing(name: string): never {
  throw new Error(`Work pool ${pythonRepr(name)} not found!`);
}
