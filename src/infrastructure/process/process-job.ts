// The job of a process work pool. Source: prefect workers/process.py ProcessJobConfiguration.
import type { JsonObject } from "../../api/wire.ts";
import { splitCommand } from "../../job/command.ts";
import { flowRunEnvironment } from "../../job/flow-run-environment.ts";
import { type RunFacts, renderName } from "../../job/job-fields.ts";
import { jobLabels } from "../../job/labels.ts";
import {
  booleanField,
  environmentField,
  labelsField,
  textField,
  workingDirectoryField,
} from "../../job/typed-fields.ts";
import type { Job } from "../pool-type.ts";

/** How to start one flow run as a process. */
export interface ProcessJob extends Job {
  readonly name: string;
  /** A process cannot carry labels; they are in the debug record of the job. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether the output goes to lictor's own. */
  readonly streamOutput: boolean;
  /** Null for a temporary directory. */
  readonly workingDirectory: string | null;
}

/** Makes the job from the resolved fields of the template. Throws JobConfigurationError and CommandError. */
export function toProcessJob(fields: JsonObject, facts: RunFacts): ProcessJob {
  const command = textField("command", fields.command);
  return {
    program: {
      command: command ? splitCommand(command) : null,
      env: flowRunEnvironment({ ...facts, jobEnvironment: environmentField(fields.env) }),
      reporter: "engine",
    },
    name: renderName(textField("name", fields.name), facts),
    labels: { ...jobLabels(facts.workPool, facts), ...labelsField(fields.labels) },
    streamOutput: booleanField("stream_output", fields.stream_output, true),
    workingDirectory: workingDirectoryField(fields.working_dir),
  };
}
