// What the journal keeps of a flow run, and how a worker continues from it.
import type { JsonObject } from "../api/wire.ts";
import type { RunContext } from "./run-context.ts";
import { createRunRecord, parseTime, type RunRecord } from "./run-record.ts";

/** The fields of a record that the next worker needs. */
type KeptFields = Pick<
  RunRecord,
  | "flowRun"
  | "workPool"
  | "deployment"
  | "flow"
  | "phase"
  | "claim"
  | "proposals"
  | "handle"
  | "rules"
  | "beganAt"
  | "ending"
  | "submitted"
  | "times"
>;

/** One flow run in the journal. */
export interface JournalEntry extends KeptFields {
  readonly apiUrl: string;
  readonly workerName: string;
  readonly poolType: string;
}

/**
 * Writes the flow run into the journal. Awaited before each act that the next worker must know of: a claim, a start, the
 * report of an end. Never throws, because a worker without a disk works too.
 */
export async function keep(context: RunContext, run: RunRecord): Promise<void> {
  const { api, identity, services } = context;
  const { phase, claim, proposals, handle, beganAt, ending, submitted, times } = run;
  const entry: JournalEntry = {
    apiUrl: api.address.apiUrl,
    workerName: identity.name,
    poolType: identity.type,
    flowRun: { ...pick(run.flowRun, flowRunFields), state: null, job_variables: null },
    workPool: { ...run.workPool, base_job_template: {} },
    deployment: run.deployment && { ...pick(run.deployment, deploymentFields), job_variables: null, pull_steps: null },
    flow: run.flow && pick(run.flow, ["id", "name", "tags"]),
    ...{ phase, claim, proposals, handle, beganAt, ending, submitted, times },
    rules: run.rules ?? null,
  };
  await services.journal.write(run.flowRun.id, entry as unknown as JsonObject);
}

/** Removes the flow run from the journal, because nothing is left to do for it. */
export async function forget({ services }: RunContext, { flowRun }: RunRecord): Promise<void> {
  await services.journal.remove(flowRun.id);
}

/** Returns the entry in a journal record; null if it is none. */
export function readEntry(record: JsonObject): JournalEntry | null {
  const entry = record as unknown as Partial<JournalEntry>;
  const isComplete =
    typeof entry.apiUrl === "string" &&
    typeof entry.workerName === "string" &&
    typeof entry.poolType === "string" &&
    typeof entry.flowRun?.id === "string" &&
    typeof entry.workPool?.name === "string" &&
    Array.isArray(entry.proposals);
  return isComplete ? (entry as JournalEntry) : null;
}

/** Returns the record of a flow run that an earlier worker of this pool had. */
export function restoreRunRecord(entry: JournalEntry, given: Pick<RunRecord, "slot" | "log">): RunRecord {
  const { flowRun, workPool, deployment, flow, claim, proposals, handle, ending, submitted, times, phase } = entry;
  // Older releases have no rules, and report the states of no program.
  const { rules = null, beganAt = null } = entry;
  const run = createRunRecord({ ...given, flowRun, workPool });
  return {
    ...run,
    ...{ deployment, flow, claim, proposals, handle, rules, beganAt, ending, submitted, phase },
    // A record without a claim would not take part in the counts.
    times: { ...times, claimed: times.claimed ?? parseTime(claim?.timestamp) ?? run.times.due ?? 0 },
  };
}

/** The fields of a flow run for the next worker. Its parameters and variables may be large or secret. */
const flowRunFields = [
  "id",
  "name",
  "created",
  "flow_id",
  "deployment_id",
  "state_type",
  "state_name",
  "tags",
  "infrastructure_pid",
  "expected_start_time",
  "next_scheduled_start_time",
  "start_time",
  "work_queue_id",
] as const;

/** The fields of a deployment that events about a flow run name. */
const deploymentFields = [
  "id",
  "name",
  "flow_id",
  "tags",
  "updated",
  "entrypoint",
  "path",
  "branch",
  "base",
  "root",
  "version_id",
  "version_info",
] as const;

/** Returns an object with only these fields. */
function pick<T extends object, K extends keyof T>(object: T, fields: readonly K[]): Pick<T, K> {
  return Object.fromEntries(fields.map((field) => [field, object[field]])) as Pick<T, K>;
}
