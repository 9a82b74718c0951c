// What a Job and its pods say of their flow run, so that a later worker finds them without a journal.
import { isJsonObject } from "../../job/template.ts";
import type { ReportRules } from "../../program/program.ts";

/** All Jobs and pods of lictor have this label. Its value is the id of the work pool. */
export const poolLabel = "lictor.io/work-pool-id";
/** The flow run, also of the Jobs of other workers. Source: prefect workers/base.py _base_flow_run_labels. */
export const flowRunLabel = "prefect.io/flow-run-id";
/** Everything else is one annotation, because labels are short. */
const factsAnnotation = "lictor.io/flow-run";

/** What a Job says of its flow run. */
export interface JobFacts {
  readonly flowRunId: string;
  /** The instance of the worker that created it; empty if that had no instance directory. */
  readonly instance: string;
  readonly workerName: string;
  /** The transition ids of the claim that it belongs to. A flow run that runs again has others. */
  readonly attempt: readonly string[];
  readonly streamsOutput: boolean;
  /** Whether it runs `prefect flow-run execute`, which reports Running and reacts to cancellations. */
  readonly executesItself: boolean;
  /** The longest times until a pod has started and until the end of the Job, in seconds; null without a limit. */
  readonly podWatchSeconds: number | null;
  readonly jobWatchSeconds: number | null;
  /** How the worker reports the states of the program; null if an engine does. Jobs of older releases do not say so. */
  readonly rules?: ReportRules | null;
}

/** Returns the annotations of a Job. */
export function toFactsAnnotation(facts: JobFacts): Record<string, string> {
  return { [factsAnnotation]: JSON.stringify(facts) };
}

/** Returns what the annotations of a Job say; null for a Job that lictor did not create. */
export function readFacts(annotations: Readonly<Record<string, string>> | null | undefined): JobFacts | null {
  try {
    const facts = JSON.parse(annotations?.[factsAnnotation] ?? "null");
    return isJsonObject(facts) && typeof facts.flowRunId === "string" && Array.isArray(facts.attempt)
      ? (facts as unknown as JobFacts)
      : null;
  } catch {
    return null;
  }
}
