// What must be true after each seed, whatever happened.
import { getEventListeners } from "node:events";
import type { OnLost } from "../../src/run/run-context.ts";
import { isFinal } from "../../src/run/states.ts";
import { type Container, poolIdOf, short } from "./container.ts";
import type { ContainerEngine } from "./container-engine.ts";
import type { EngineConnections } from "./engine-connections.ts";
import type { LictorProcess } from "./lictor-process.ts";
import type { Machine } from "./machine.ts";
import { isUnreachable, type RunFacts } from "./run-facts.ts";
import type { ServerModel } from "./server-model.ts";
import { findLeftJobs, type SimulatedCluster } from "./simulated-cluster.ts";
import type { ModelState } from "./state-rules.ts";

/** What is checked at the end of a seed. */
export interface CheckedWorld {
  readonly runs: ReadonlyMap<string, RunFacts>;
  readonly server: ServerModel;
  readonly machines: readonly Machine[];
  readonly engines: readonly EngineConnections[];
  readonly cluster: SimulatedCluster | null;
  readonly lictors: readonly LictorProcess[];
  readonly onLost: OnLost;
  /** Limits that were exceeded. */
  readonly exceeded: readonly string[];
  /** The clock of a machine was wrong at some time. */
  readonly clockWasSet: boolean;
  /** The first lictor processes still run. */
  readonly isCalm: boolean;
  /** Whether the flow run was lost in a way against which there is no means. */
  isUnpromised(id: string): boolean;
  /** Whether nobody can know whether the program began. An engine would have reported Running before. */
  isBeginUnknown(id: string): boolean;
}

/** Returns what is wrong when all flow runs should have ended. */
export function findViolations(world: CheckedWorld): string[] {
  const { runs, machines, engines, lictors } = world;
  const checked = [...runs.values()].filter(({ id }) => !world.isUnpromised(id));
  const isBlocked = checked.length < runs.size;
  return [
    ...world.exceeded,
    ...checked.flatMap((facts) => checkRun(facts, isBlocked, world)),
    ...checked.flatMap((facts) => checkTimeLimit(facts, world)),
    ...machines.flatMap((machine) => [
      ...machine.living().map((process) => `${process.owner.name} of ${process.flowRunId} still runs`),
      ...findLeftFiles(world, machine),
    ]),
    ...engines.flatMap(({ engine }) => findLeftContainers(world, engine)),
    ...(world.cluster ? findLeftJobs(world, world.cluster) : []),
    ...lictors.flatMap((lictor) => checkLictor(lictor)),
  ];
}

/**
 * Returns the containers that run or were never started. Ended ones are kept for users. The work pool of a container that the
 * engine created late may be gone, and then nobody looks for it.
 */
export function findLeftContainers(
  { server }: Pick<CheckedWorld, "server">,
  { containers, name }: ContainerEngine,
): string[] {
  const poolIds = new Set([...server.pools.values()].map(({ id }) => id));
  const isWanted = (container: Container): boolean =>
    container.status !== "created" || poolIds.has(poolIdOf(container) ?? "");
  return [...containers.values()]
    .filter((container) => container.status !== "exited" && isWanted(container))
    .map(({ id, status, flowRunId }) => `container ${short(id)} of ${flowRunId} is still ${status} on ${name}`);
}

/** Returns the files of flow runs that are left on a machine. Records that could not be read stay. */
export function findLeftFiles(world: Pick<CheckedWorld, "isUnpromised">, machine: Machine): string[] {
  const temporary = [...machine.temporaryFiles].filter(([, id]) => !world.isUnpromised(id));
  const records = [...machine.disk.files.keys()].filter((path) => !path.startsWith("unreadable"));
  return [
    ...temporary.map(([pid]) => `the temporary files of process ${pid} are left on ${machine.name}`),
    ...records.map((path) => `${path} is left on ${machine.name}`),
  ];
}

/** `isBlocked`: another flow run may hold the place of this one in the work pool. */
function checkRun(facts: RunFacts, isBlocked: boolean, world: CheckedWorld): string[] {
  const { server, onLost } = world;
  const { id, name, plan, retries, truth, cancelledAtMs } = facts;
  const run = server.runs.get(id);
  const wrong: string[] = [];
  const { executions, reported, losses, reschedules } = truth;
  // Each retry of a program is an execution of its own. An engine repeats its flow itself.
  const states = plan.isProgram ? (server.histories.get(id) ?? []) : [];
  // One that a worker restores after a late claim has a transition id.
  const isGranted = (state: ModelState): boolean =>
    state.name === "AwaitingRetry" && state.state_details.transition_id === null;
  const granted = states.filter(isGranted).length;
  const mostExecutions = 1 + granted + reschedules + (onLost === "reschedule" ? losses.length : 0);
  if (executions > mostExecutions) wrong.push(`${name} was executed ${executions} times`);
  if (truth.hooks.has("cancellation") && cancelledAtMs === null) wrong.push(`the cancellation hooks of ${name} ran`);
  if (truth.hooks.has("crashed") && losses.length === 0) wrong.push(`the crash hooks of ${name} ran`);
  if (!run || isUnreachable(run) || (isBlocked && run.state_type === "SCHEDULED")) return wrong;
  const end = run.state_type;
  const wasCancelled = cancelledAtMs !== null;
  if (!isFinal(run.state)) return [...wrong, `${name} is still ${end} (${run.state_name})`];
  if (end === "CANCELLED" && !wasCancelled) wrong.push(`${name} is CANCELLED, but nobody cancelled it`);
  if (end === "CRASHED" && plan.isProgram && world.isBeginUnknown(id)) return wrong;
  if (end === "CRASHED" && losses.length === 0) wrong.push(`${name} is CRASHED, but nothing happened to its process`);
  if ((end === "COMPLETED" || end === "FAILED") && reported !== end && run.state_name !== timedOut)
    wrong.push(`${name} is ${end}, but its ${plan.isProgram ? "program" : "engine"} reported ${reported}`);
  const isNearLimit = plan.durationMs > (plan.timeoutSeconds ?? Number.POSITIVE_INFINITY) * 1_000 - earlyMs;
  if (wasCancelled || losses.length > 0 || isNearLimit) return wrong;
  const expected = plan.failures > retries ? "FAILED" : "COMPLETED";
  const expectedExecutions = plan.isProgram ? 1 + Math.min(plan.failures, retries) : 1;
  if (executions !== expectedExecutions)
    wrong.push(`${name} was executed ${executions} times, although nothing happened to it`);
  if (end !== expected) wrong.push(`${name} is ${end} instead of ${expected}`);
  return wrong;
}

/** The name of the state of a program that ran for too long. */
const timedOut = "TimedOut";
/** A worker counts the time from a moment before the begin of a program. */
const earlyMs = 1_200;
/** A worker that lives stops a program this long after its time limit. */
const lateMs = 2_000;

function checkTimeLimit({ id, name, plan, retries, truth, cancelledAtMs }: RunFacts, world: CheckedWorld): string[] {
  const run = world.server.runs.get(id);
  if (!run || !isFinal(run.state)) return [];
  const { ranMs, losses, executions } = truth;
  const limitMs = (plan.timeoutSeconds ?? Number.POSITIVE_INFINITY) * 1_000;
  // Only the wall clock outlives the worker that started the program.
  // A worker that adopts a Job does not know when its pod began, and counts from the creation of the Job.
  const isTimed = world.isCalm || (!world.clockWasSet && world.cluster === null);
  if (run.state_name === timedOut && isTimed && ranMs < limitMs - earlyMs)
    return [`${name} is TimedOut after ${Math.round(ranMs)} ms instead of ${limitMs} ms`];
  const wasDisturbed = cancelledAtMs !== null || losses.some((why) => why !== "kill");
  // A container or a Job may run for some time before its worker hears of it.
  const isNoProcess = world.engines.length > 0 || world.cluster !== null;
  if (wasDisturbed || !world.isCalm || isNoProcess || plan.durationMs < limitMs + lateMs) return [];
  if (run.state_name !== timedOut) return [`${name} runs too long, and is ${run.state_name}`];
  return executions === 1 + retries ? [] : [`${name} runs too long, and was executed ${executions} times`];
}

function checkLictor({ owner, ended, slots, worker }: LictorProcess): string[] {
  if (!owner.alive || ended) return ended?.error ? [`${owner.name} failed: ${ended.error}`] : [];
  const wrong: string[] = [];
  if (slots.taken > 0) wrong.push(`${owner.name} holds ${slots.taken} slots`);
  const inFlight = worker?.runs.list() ?? [];
  for (const { flowRun, phase } of inFlight) wrong.push(`${owner.name} still has ${flowRun.name} in phase ${phase}`);
  return wrong;
}

/** Returns what is wrong with a lictor process that should have drained. What it leaves was found at its end. */
export function checkDrained({ owner, ended }: LictorProcess): string[] {
  if (!ended) return [`${owner.name} does not end`];
  return ended.error ? [`${owner.name} failed: ${ended.error}`] : [];
}

/** Returns what a lictor process leaves behind at its end. A timer would keep it alive. */
export function findLeft({ owner, stop, worker }: LictorProcess): string[] {
  const wrong: string[] = [];
  if (owner.timerCount > 0) wrong.push(`${owner.name} leaves ${owner.timerCount} timers`);
  const listeners = [stop.drain, stop.kill, stop.leave].map((signal) => getEventListeners(signal, "abort").length);
  if (listeners.some((count) => count > 0)) wrong.push(`${owner.name} leaves listeners: ${listeners.join(", ")}`);
  if (worker && worker.runs.list().length > 0) wrong.push(`${owner.name} leaves flow runs`);
  return wrong;
}
