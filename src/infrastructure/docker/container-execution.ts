// The execution of one flow run in a container: how it ends, how it is stopped, and what is left of it.
import { timeoutSignal } from "../../async/clock.ts";
import { LinkedController } from "../../async/linked-controller.ts";
import { waitAtMost } from "../../async/sleep.ts";
import { terminateGraceMs } from "../../process/terminate.ts";
import { selfCancelMs } from "../../program/launch.ts";
import type { Ending, Execution, Handle, StopLimits } from "../execution.ts";
import type { RunAccess } from "../pool-type.ts";
import { describeBytes } from "./byte-sizes.ts";
import { type ContainerDetails, inspect, nameOf } from "./container-details.ts";
import { type ContainerFacts, readLabels } from "./container-labels.ts";
import { ContainerOutput, readLastLines } from "./container-output.ts";
import { readContainerResult } from "./container-result.ts";
import { type ContainerEnd, isEnded } from "./container-watch.ts";
import { type Docker, logOf } from "./docker.ts";
import { isMissing } from "./engine/engine-error.ts";
import { EnvironmentSecrets } from "./environment-secrets.ts";
import { statusEvent } from "./events.ts";
import { removeContainer } from "./start-container.ts";

/** After the end of a container, its last lines arrive within this time. */
const lastLinesMs = 5_000;
/** The time limit for removing an ended container. The cleaning removes it otherwise. */
const removalMs = 10_000;

/** A container that runs or has just ended, and its handle. */
export interface RunningContainer {
  readonly details: ContainerDetails;
  readonly handle: Handle;
  readonly isAdopted: boolean;
}

/** Returns the execution of a container. */
export function containerExecution(docker: Docker, container: RunningContainer, options: RunAccess): Execution {
  const { details, handle, isAdopted } = container;
  const { Id: id, Config } = details;
  const facts = readLabels(Config.Labels);
  const { flowRunId, directory, onLine } = options;
  const output =
    facts?.streamsOutput || onLine
      ? new ContainerOutput(docker, {
          id,
          directory,
          isAdopted,
          isTerminal: Config.Tty,
          settled: options.linesSettled ?? null,
          onLine: (line) => {
            if (facts?.streamsOutput) docker.services.printLine(flowRunId, line);
            onLine?.(line);
          },
        })
      : null;
  let hasEnded = false;
  const ended = docker.watch.watch(id).then(async (end) => {
    hasEnded = true;
    const over = new AbortController();
    if (output) await waitAtMost(output.ended, lastLinesMs, over.signal);
    // A short program may have ended before the first look, and then this was said already.
    const status = end.status === "removing" ? "exited" : end.status;
    if (isAdopted || details.State.Status !== status) options.onEvent(statusEvent(details, status));
    await logEnd(docker, details, end, { flowRunId, lastLines: output?.lastLines ?? [] });
    return toEnding(details, end);
  });
  // It may have ended before it was watched.
  void docker.watch.look(id);
  return {
    handle,
    // An engine in the container does not say when it runs.
    started: onLine ? Promise.resolve() : ended,
    ended,
    hooks: null,
    reportsRunning: facts?.executesItself ?? false,
    // `prefect flow-run execute` sends them.
    sendsHeartbeats: true,
    readResult: () => readContainerResult(docker, id),
    stop: (why, limits) => stopContainer(docker, id, { ended, facts, why }, limits),
    endLeftovers: async () => {},
    async [Symbol.asyncDispose]() {
      docker.watch.unwatch(id);
      await output?.[Symbol.asyncDispose]();
      if (hasEnded && docker.keepMs === 0) await tryRemove(docker, id);
    },
  };
}

/** Logs how the container ended. The last lines of a failure go to the server as well. */
async function logEnd(
  docker: Docker,
  details: ContainerDetails,
  { exitCode, status, wasOutOfMemory }: ContainerEnd,
  { flowRunId, lastLines }: { flowRunId: string; lastLines: readonly string[] },
): Promise<void> {
  const log = logOf(docker, flowRunId);
  const name = nameOf(details);
  log.info(`Docker container '${name}' has status '${status}'${exitCode === null ? "" : `, exit code ${exitCode}`}`);
  if (wasOutOfMemory) log.error(`${outOfMemory(details)} A process in it was ended for that.`);
  if (exitCode === 0 || exitCode === null) return;
  const signal = timeoutSignal(lastLinesMs);
  const lines =
    lastLines.length > 0
      ? lastLines
      : await readLastLines(docker, details.Id, details.Config.Tty, signal).catch((): string[] => []);
  if (lines.length > 0) log.error(`The last lines of container '${name}':\n${lines.join("\n")}`);
}

function toEnding(details: ContainerDetails, { exitCode, wasOutOfMemory, error }: ContainerEnd): Ending {
  if (exitCode === null) {
    const why = "The flow run's container was removed, and its exit code is not known.";
    return { kind: "gone", why, mayHaveBegun: true };
  }
  const said = new EnvironmentSecrets(details.Config.Env ?? []).hideIn(error).replace(/\.$/, "");
  const why = wasOutOfMemory ? outOfMemory(details) : said === "" ? null : `The engine says: ${said}.`;
  return { kind: "exited", status: exitCode, reported: null, ...(why !== null && { why }) };
}

function outOfMemory({ HostConfig: { Memory = 0 } }: ContainerDetails): string {
  const limit = Memory > 0 ? `its limit of ${describeBytes(Memory)}` : "the machine has";
  return `The container used more memory than ${limit} (OOMKilled).`;
}

/**
 * Stops the container. One that executes the flow run itself sees the cancellation and ends itself, so it gets the time for
 * that first. After that, and for other programs, the engine sends SIGTERM, and SIGKILL after the grace time.
 */
export async function stopContainer(
  docker: Docker,
  id: string,
  { ended, facts, why }: { ended: Promise<unknown> | null; facts: ContainerFacts | null; why: "cancel" | "kill" },
  { kill, leave }: StopLimits,
): Promise<"stopped" | "had ended"> {
  if (ended && why === "cancel" && facts?.executesItself) {
    using over = new LinkedController(kill);
    const end = ended.then(() => over.abort());
    await waitAtMost(end, selfCancelMs, over.signal);
    if (await isSettled(ended)) return "stopped";
  }
  const grace = leave.aborted ? 0 : terminateGraceMs / 1000;
  try {
    // The news of its end may be on its way.
    if (!leave.aborted && (await isOver(docker, id, leave))) return "had ended";
    await docker.patience.whileAway(
      () =>
        docker.engine.request("POST", `/containers/${id}/stop`, {
          query: { t: grace },
          limitMs: 2 * terminateGraceMs,
          signal: leave.aborted ? undefined : leave,
        }),
      leave,
    );
  } catch (error) {
    if (isMissing(error)) return "had ended";
    if (!leave.aborted) throw error;
    return "stopped";
  }
  await ended;
  return "stopped";
}

async function isOver(docker: Docker, id: string, leave: AbortSignal): Promise<boolean> {
  const { State } = await docker.patience.whileAway(() => inspect(docker, id, leave), leave);
  return isEnded(State.Status);
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const notYet = Symbol("not yet");
  return (await Promise.race([promise, Promise.resolve(notYet)])) !== notYet;
}

async function tryRemove(docker: Docker, id: string): Promise<void> {
  await removeContainer(docker, id, timeoutSignal(removalMs)).catch((error: unknown) => {
    docker.services.log.debug({ err: error }, `Container ${id} could not be removed`);
  });
}
