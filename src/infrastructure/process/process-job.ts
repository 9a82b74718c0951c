// The job of a process work pool. Source: prefect workers/process.py ProcessJobConfiguration.
import type { JsonObject } from "../../api/wire.ts";
import { flowRunEnvironment } from "../../job/flow-run-environment.ts";
import { type RunFacts, renderName } from "../../job/job-fields.ts";
import { jobLabels } from "../../job/labels.ts";
import { toProgram } from "../../job/program-fields.ts";
import {
  booleanField,
  environmentField,
  labelsField,
  textField,
  workingDirectoryField,
} from "../../job/typed-fields.ts";
import type { Job } from "../pool-type.ts";

/** The job of one flow run that runs as a process. */
export interface ProcessJob extends Job {
  readonly name: string;
  /** A process has no labels. They are only shown in the debug record of the job. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether the output of the process goes to lictor's own output. */
  readonly streamOutput: boolean;
  /** The path of the directory; null for a temporary one. */
  readonly workingDirectory: string | null;
}

/** Returns the job from the resolved fields of the template. Throws JobConfigurationError and CommandError. */
export function toProcessJob(fields: JsonObject, facts: RunFacts): ProcessJob {
  const env = flowRunEnvironment({ ...facts, jobEnvironment: environmentField(fields.env) });
  return {
    program: toProgram(fields, facts, env),
    name: renderName(textField("name", fields.name), facts),
    labels: { ...jobLabels(facts.workPool, facts), ...labelsField(fields.labels) },
    streamOutput: booleanField("stream_output", fields.stream_output, true),
    workingDirectory: workingDirectoryField(fields.working_dir),
  };
}
