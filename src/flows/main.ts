// The flows of this module, and what the process does when all are defined: it describes them, or runs one of them.
import { writeFileSync } from "node:fs";
import { toSchema } from "./parameters.ts";
import { type DefinedFlow, fail, runToEnd } from "./run-to-end.ts";

const flows = new Map<string, DefinedFlow>();
let isPlanned = false;

/** Adds a flow. The first one plans what the process does after it has defined all. */
export function define(flow: DefinedFlow): void {
  const { name } = flow.options;
  if (flows.has(name)) throw new Error(`Two flows have the name '${name}'.`);
  flows.set(name, flow);
  if (isPlanned) return;
  isPlanned = true;
  const { LICTOR_DESCRIBE_FILE: describeFile, LICTOR_RESULT_FILE: resultFile, PREFECT__FLOW_RUN_ID: id } = process.env;
  if (describeFile) setImmediate(() => describeAll(describeFile));
  else if (id && resultFile) planRun(id, resultFile);
}

function describeAll(file: string): never {
  const descriptions = [...flows.values()].map(({ options }) => ({
    name: options.name,
    parameters: toSchema(options.parameters ?? {}),
    retries: options.retries ?? null,
    retryDelaySeconds: options.retryDelaySeconds ?? null,
    timeoutSeconds: options.timeoutSeconds ?? null,
  }));
  writeFileSync(file, JSON.stringify(descriptions));
  process.exit(0);
}

function planRun(flowRunId: string, resultFile: string): void {
  const { LICTOR_FLOW: wanted } = process.env;
  // A program that the flow starts must not take itself for the flow run.
  delete process.env.LICTOR_RESULT_FILE;
  delete process.env.LICTOR_FLOW;
  setImmediate(() => {
    const names = [...flows.keys()].map((name) => `'${name}'`).join(", ");
    const flow = wanted === undefined ? [...flows.values()][0] : flows.get(wanted);
    if (flow && (wanted !== undefined || flows.size === 1)) {
      void runToEnd(flow, { flowRunId, resultFile, env: process.env });
      return;
    }
    const problem = wanted === undefined ? "LICTOR_FLOW must name one of them." : `It has no flow '${wanted}'.`;
    fail(new Error(`The module has the flows ${names}. ${problem}`), resultFile);
    process.exit(1);
  });
}
