// `import { flow, task, log } from "lictor"`: flows in TypeScript, run by `node flow.ts` under a lictor worker.
export { context } from "./current.ts";
export { flow } from "./flow.ts";
export { log, progress } from "./log.ts";
export { task } from "./task.ts";
export type {
  Flow,
  FlowOptions,
  GivenParameters,
  Log,
  ParameterDefinition,
  ParameterDefinitions,
  ParameterValues,
  RunContext,
  TaskOptions,
} from "./types.ts";
