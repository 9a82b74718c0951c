// What `lictor worker ls` and `lictor worker inspect` do: they show the workers that the server knows.
import { readWorkers } from "../api/listings.ts";
import type { JsonObject } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { pythonRepr } from "../python-text.ts";
import { humanDifference } from "./human-time.ts";
import { openOperatorApi } from "./operator-api.ts";
import type { OutputOption } from "./options.ts";
import { printFields, printTable } from "./output.ts";
import type { ProgramContext } from "./program-context.ts";
import { print, printJson } from "./terminal.ts";

/** `worker ls`: prints the workers of a work pool, those that were heard of last first. */
export async function listWorkers(
  program: ProgramContext,
  pool: string,
  output: OutputOption["output"],
): Promise<void> {
  const workers = await workersOf(program, pool);
  if (output === "json") return printJson(workers);
  if (workers.length === 0) return print(`No workers found in work pool ${pythonRepr(pool)}.`);
  const now = wallClockMs();
  printTable(program, {
    title: `Workers of ${pool}`,
    columns: [
      { header: "Name", colour: "green" },
      { header: "Status", colour: "magenta" },
      { header: "Last Heartbeat", colour: "blue" },
      { header: "ID", align: "right", colour: "cyan" },
    ],
    rows: workers.map((worker) => [
      String(worker.name),
      String(worker.status),
      worker.last_heartbeat_time ? humanDifference(heartbeatOf(worker), now) : "never",
      String(worker.id),
    ]),
  });
}

/** `worker inspect`: prints a worker. Throws an Error if it does not exist. */
export async function inspectWorker(
  program: ProgramContext,
  pool: string,
  name: string,
  output: OutputOption["output"],
): Promise<void> {
  const worker = (await workersOf(program, pool)).find((each) => each.name === name);
  if (!worker) throw new Error(`Worker ${pythonRepr(name)} not found in work pool ${pythonRepr(pool)}!`);
  if (output === "json") printJson(worker);
  else printFields(worker);
}

async function workersOf(program: ProgramContext, pool: string): Promise<JsonObject[]> {
  using open = await openOperatorApi(program);
  const workers = await readWorkers(open.api, pool);
  if (!workers) throw new Error(`Work pool ${pythonRepr(pool)} not found!`);
  return workers.sort((one, other) => heartbeatOf(other) - heartbeatOf(one));
}

function heartbeatOf({ last_heartbeat_time }: JsonObject): number {
  return typeof last_heartbeat_time === "string" ? Date.parse(last_heartbeat_time) : 0;
}
