// Executes one flow run from the claim to its end, or continues one that an earlier worker claimed.
// Source: prefect workers/base.py _submit_run, runner/_flow_run_executor.py.
import { sleep } from "../async/sleep.ts";
import type { Execution } from "../infrastructure/execution.ts";
import { applyRules, begin, reportInfrastructure, runAccess } from "./begin.ts";
import { claim } from "./claim.ts";
import { forget } from "./journal-entry.ts";
import { readJobOfLost, readRules } from "./read-job.ts";
import { reportLabels } from "./report-labels.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import { hasEnded, watch } from "./watch.ts";

/**
 * Executes a scheduled flow run to its end, and frees its slot. Returns whether the flow run was claimed. Never throws: a
 * failure is logged and, where possible, reported as a state of the flow run.
 */
export async function live(context: RunContext, run: RunRecord): Promise<boolean> {
  using _slot = run.slot;
  try {
    await using execution = await start(context, run);
    if (execution) await watchAll(context, run, execution);
  } catch (error) {
    run.log.error({ err: error }, `Failed to update state of flow run '${run.flowRun.id}'`);
  } finally {
    if (!run.isClaimUnknown && !run.isLeftRunning) await forget(context, run);
  }
  return run.times.claimed !== null;
}

/** Claims the flow run and starts its program. Returns null if it was not claimed or could not be started. */
async function start(context: RunContext, run: RunRecord): Promise<Execution | null> {
  const { machine, slotFreed } = context.services;
  using attempt = machine.attempt();
  if (!(await claim(context, run))) return null;
  const execution = await begin(context, run);
  if (execution === null) return null;
  const wasClosed = machine.isClosed;
  attempt.succeeded();
  // Other flow runs waited for the outcome of this start.
  if (wasClosed) slotFreed();
  return execution;
}

/**
 * Watches the program to its end. Meanwhile ends the processes that it left behind. They delay neither the report nor the
 * slot, but the flow run stays in flight, so that a drain waits for them and the next worker finds them.
 */
async function watchAll(context: RunContext, run: RunRecord, execution: Execution): Promise<void> {
  const leftovers = execution.ended.then(async () => await execution.endLeftovers(context.services.stop));
  try {
    await watch(context, run, execution);
  } finally {
    run.phase = "leftovers";
    if (!run.isLeftRunning) await leftovers;
  }
}

/**
 * Continues a flow run from its journal entry: watches its program, or reports what became of it. Frees its slot. Returns
 * true, because the flow run was claimed. Never throws.
 */
export async function resume(context: RunContext, run: RunRecord): Promise<boolean> {
  using _slot = run.slot;
  try {
    // The record names the temporary files, so it is removed after them.
    const isSettled = await watchAdopted(context, run);
    if (isSettled && !run.isClaimUnknown) await forget(context, run);
  } catch (error) {
    run.log.error({ err: error }, `Failed to update state of flow run '${run.flowRun.id}'`);
  }
  return true;
}

/**
 * Adopts the program and watches it to its end. Returns false if the worker was ended before it could be adopted. A program
 * of other infrastructure is left alone. If nothing is heard of it, its flow run is settled as lost.
 */
async function watchAdopted(context: RunContext, run: RunRecord): Promise<boolean> {
  await using execution = await adoptWhenPossible(context, run);
  if (execution === null) return !context.services.stop.kill.aborted;
  // The old labels name a dead program, and other workers would settle the flow run.
  if (!(await hasEnded(execution))) reportLabels(context, run);
  // With the id of a process, a flow run whose worker is lost as well would count as begun.
  const isNew = execution.handle.identifier !== run.flowRun.infrastructure_pid;
  if (isNew && !(await isUnbegun(execution))) reportInfrastructure(context, run);
  await watchAll(context, run, execution);
  return !run.isLeftRunning;
}

async function isUnbegun(execution: Execution): Promise<boolean> {
  if (!(await hasEnded(execution))) return false;
  const ending = await execution.ended;
  return ending.kind === "gone" && !ending.mayHaveBegun;
}

/** A machine that lacks file handles or memory is tried again after this pause. */
const adoptionPauseMs = 5_000;

/**
 * Adopts the program, as soon as the machine allows it. Says once that it has to wait. Returns null if the worker is ended
 * before, or if the program belongs to other infrastructure.
 */
async function adoptWhenPossible(context: RunContext, run: RunRecord): Promise<Execution | null> {
  const { infrastructure, services, identity } = context;
  const { flowRun, log, ending } = run;
  applyRules(context, run, run.rules === undefined ? await readRules(context, run, services.stop.kill) : run.rules);
  const handle = run.handle ?? { poolType: identity.type, identifier: "", proof: {} };
  const options = {
    ...runAccess(context, run, services.stop.kill),
    hasEnded: ending !== null,
    readJob: () => readJobOfLost(context, run),
  };
  let hasFailed = false;
  while (!services.stop.kill.aborted) {
    try {
      const execution = await infrastructure.adopt(handle, options);
      if (hasFailed) log.info(`Flow run '${flowRun.name}' is continued now`);
      if (execution === null) return null;
      // A handle without an identifier also names temporary files. The next worker needs them if this one is killed.
      run.handle = execution.handle;
      return ending ? { ...execution, ended: Promise.resolve(ending) } : execution;
    } catch (error) {
      log[hasFailed ? "debug" : "warn"]({ err: error }, `Flow run '${flowRun.name}' cannot be continued yet`);
      hasFailed = true;
      await sleep(adoptionPauseMs, services.stop.kill);
    }
  }
  return null;
}
