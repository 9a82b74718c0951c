// What the journal keeps of a flow run, and how a worker continues from it.
import type { Deployment, FlowRun, JsonObject } from "../api/wire.ts";
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
  const { phase, claim, proposals, handle, ending, submitted, times } = run;
  const entry: JournalEntry = {
    apiUrl: api.address.apiUrl,
    workerName: identity.name,
    poolType: identity.type,
    flowRun: withoutSecrets(run.flowRun),
    workPool: { ...run.workPool, base_job_template: {} },
    deployment: run.deployment && { ...eventFieldsOf(run.deployment), job_variables: null, pull_steps: null },
    flow: run.flow && { id: run.flow.id, name: run.flow.name, tags: run.flow.tags },
    ...{ phase, claim, proposals, handle, ending, submitted, times },
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
  const run = createRunRecord({ ...given, flowRun, workPool });
  return {
    ...run,
    ...{ deployment, flow, claim, proposals, handle, ending, submitted, phase },
    // A record without a claim would not take part in the counts.
    times: { ...times, claimed: times.claimed ?? parseTime(claim?.timestamp) ?? run.times.due ?? 0 },
  };
}

/** The journal needs no parameters and variables, and they may be large or secret. */
function withoutSecrets(flowRun: FlowRun): FlowRun {
  const { id, name, created, flow_id, deployment_id, state_type, state_name, tags, infrastructure_pid } = flowRun;
  const { expected_start_time, next_scheduled_start_time, start_time, work_queue_id } = flowRun;
  return {
    ...{ id, name, created, flow_id, deployment_id, state_type, state_name, tags, infrastructure_pid },
    ...{ expected_start_time, next_scheduled_start_time, start_time, work_queue_id },
    state: null,
    job_variables: null,
  };
}

/** Returns the fields that the events about a flow run name. */
function eventFieldsOf(deployment: Deployment): Omit<Deployment, "job_variables" | "pull_steps"> {
  const { id, name, flow_id, tags, updated, entrypoint, path, branch, base, root, version_id, version_info } =
    deployment;
  return {
    ...{ id, name, flow_id, tags, updated, entrypoint, path },
    ...(branch !== undefined && { branch }),
    ...(base !== undefined && { base }),
    ...(root !== undefined && { root }),
    ...(version_id !== undefined && { version_id }),
    ...(version_info !== undefined && { version_info }),
  };
}
