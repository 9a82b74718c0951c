// What is kept of a Job. There may be thousands, so this is little.
import type { JobObject } from "./cluster/resources.ts";
import { type JobFacts, poolLabel, readFacts } from "./job-labels.ts";

/** A Job, as far as its flow run depends on it. */
export interface JobRow {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly workPoolId: string;
  readonly facts: JobFacts | null;
  readonly outcome: JobOutcome | null;
}

/** How a Job ended. `reason` and `message` are Kubernetes'. */
export type JobOutcome =
  | { readonly kind: "complete" }
  | { readonly kind: "failed"; readonly reason: string; readonly message: string };

/** Kubernetes' own limit for a Job without one. Source: batch/v1 JobSpec. */
const usualBackoffLimit = 6;

/** Returns what is kept of a Job. */
export function toJobRow(job: JobObject): JobRow {
  const { uid, name, namespace = "", labels, annotations } = job.metadata;
  return {
    uid,
    name,
    namespace,
    workPoolId: labels?.[poolLabel] ?? "",
    facts: readFacts(annotations),
    outcome: outcomeOf(job),
  };
}

function outcomeOf({ spec, status }: JobObject): JobOutcome | null {
  const conditionOf = (type: string) => status?.conditions?.find((one) => one.type === type && one.status === "True");
  if (conditionOf("Complete")) return { kind: "complete" };
  const failed = conditionOf("Failed");
  if (failed) return { kind: "failed", reason: failed.reason ?? "", message: failed.message ?? "" };
  // The condition may come later. Source: observer.py _mark_flow_run_as_crashed.
  if ((status?.failed ?? 0) > (spec?.backoffLimit ?? usualBackoffLimit))
    return { kind: "failed", reason: "BackoffLimitExceeded", message: "" };
  return null;
}
