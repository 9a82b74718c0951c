// What must be true after each seed, whatever happened.
import { getEventListeners } from "node:events";
import type { OnLost } from "../../src/run/run-context.ts";
import { isFinal } from "../../src/run/states.ts";
import { type Container, short } from "./container.ts";
import type { ContainerEngine } from "./container-engine.ts";
import type { EngineConnections } from "./engine-connections.ts";
import type { LictorProcess } from "./lictor-process.ts";
import type { Machine } from "./machine.ts";
import { isUnreachable, type RunFacts } from "./run-facts.ts";
import type { ServerModel } from "./server-model.ts";

/** What is checked at the end of a seed. */
export interface CheckedWorld {
  readonly runs: ReadonlyMap<string, RunFacts>;
  readonly server: ServerModel;
  readonly machines: readonly Machine[];
  readonly engines: readonly EngineConnections[];
  readonly lictors: readonly LictorProcess[];
  readonly onLost: OnLost;
  /** Limits that were exceeded. */
  readonly exceeded: readonly string[];
  /** Whether the flow run was lost in a way against which there is no means. */
  isUnpromised(id: string): boolean;
}

/** Returns what is wrong when all flow runs should have ended. */
export function findViolations(world: CheckedWorld): string[] {
  const { runs, server, machines, engines, lictors } = world;
  const checked = [...runs.values()].filter(({ id }) => !world.isUnpromised(id));
  const isBlocked = checked.length < runs.size;
  return [
    ...world.exceeded,
    ...checked.flatMap((facts) => checkRun(facts, server, isBlocked, world.onLost)),
    ...machines.flatMap((machine) => [
      ...machine.living().map((process) => `${process.owner.name} of ${process.flowRunId} still runs`),
      ...findLeftFiles(world, machine),
    ]),
    ...engines.flatMap(({ engine }) => findLeftContainers(world, engine)),
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
  const isWanted = ({ status, flowRunId }: Container): boolean => {
    const isPoolGone = (server.runs.get(flowRunId)?.work_queue_id ?? null) === null;
    return status !== "created" || !isPoolGone;
  };
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
function checkRun(facts: RunFacts, server: ServerModel, isBlocked: boolean, onLost: OnLost): string[] {
  const { id, name, plan, retries, truth, cancelledAtMs } = facts;
  const run = server.runs.get(id);
  const wrong: string[] = [];
  const { executions, reported, losses } = truth;
  // Each retry of a program is an execution of its own. An engine repeats its flow itself.
  const states = plan.isProgram ? (server.histories.get(id) ?? []) : [];
  const granted = states.filter((state) => state.name === "AwaitingRetry").length;
  const mostExecutions = 1 + granted + (onLost === "reschedule" ? losses.length : 0);
  if (executions > mostExecutions) wrong.push(`${name} was executed ${executions} times`);
  if (truth.hooks.has("cancellation") && cancelledAtMs === null) wrong.push(`the cancellation hooks of ${name} ran`);
  if (truth.hooks.has("crashed") && losses.length === 0) wrong.push(`the crash hooks of ${name} ran`);
  if (!run || isUnreachable(run) || (isBlocked && run.state_type === "SCHEDULED")) return wrong;
  const end = run.state_type;
  const wasCancelled = cancelledAtMs !== null;
  if (!isFinal(run.state)) return [...wrong, `${name} is still ${end} (${run.state_name})`];
  if (end === "CANCELLED" && !wasCancelled) wrong.push(`${name} is CANCELLED, but nobody cancelled it`);
  if (end === "CRASHED" && losses.length === 0) wrong.push(`${name} is CRASHED, but nothing happened to its process`);
  if ((end === "COMPLETED" || end === "FAILED") && reported !== end)
    wrong.push(`${name} is ${end}, but its ${plan.isProgram ? "program" : "engine"} reported ${reported}`);
  if (wasCancelled || losses.length > 0) return wrong;
  const expected = plan.failures > retries ? "FAILED" : "COMPLETED";
  const expectedExecutions = plan.isProgram ? 1 + Math.min(plan.failures, retries) : 1;
  if (executions !== expectedExecutions)
    wrong.push(`${name} was executed ${executions} times, although nothing happened to it`);
  if (end !== expected) wrong.push(`${name} is ${end} instead of ${expected}`);
  return wrong;
}

function checkLictor({ owner, ended, slots, worker }: LictorProcess): string[] {
  if (!owner.alive || ended) return ended?.error ? [`${owner.name} failed: ${ended.error}`] : [];
  const wrong: string[] = [];
  if (slots.taken > 0) wrong.push(`${owner.name} holds ${slots.taken} slots`);
  const inFlight = worker?.runs.list() ?? [];
  for (const { flowRun, phase } of inFlight) wrong.push(`${owner.name} still has ${flowRun.name} in phase ${phase}`);
  return wrong;
}

/** Returns what a lictor process leaves behind when it has drained. */
export function leftBehind({ owner, ended, stop, worker }: LictorProcess): string[] {
  if (!ended) return [`${owner.name} does not end`];
  const wrong: string[] = [];
  if (ended.error) wrong.push(`${owner.name} failed: ${ended.error}`);
  if (owner.timerCount > 0) wrong.push(`${owner.name} leaves ${owner.timerCount} timers`);
  const listeners = [stop.drain, stop.kill, stop.leave].map((signal) => getEventListeners(signal, "abort").length);
  if (listeners.some((count) => count > 0)) wrong.push(`${owner.name} leaves listeners: ${listeners.join(", ")}`);
  if (worker && worker.runs.list().length > 0) wrong.push(`${owner.name} leaves flow runs`);
  return wrong;
}
