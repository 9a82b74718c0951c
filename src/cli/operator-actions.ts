// What the commands for operators do: they read the server and change a state. One file of dist/, because they share most code.
export { cancel, listFlowRuns, printLogs } from "./flow-run-actions.ts";
export { withProgram } from "./program-context.ts";
export { inspectWorkPool, listWorkPools, pauseWorkPool, previewWorkPool } from "./work-pool-actions.ts";
export { inspectWorker, listWorkers } from "./worker-list-actions.ts";
