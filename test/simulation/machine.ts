// A machine: its disk, its processes, and the infrastructure of the lictor processes that run on it.
import type { JsonObject } from "../../src/api/wire.ts";
import { neverAborts } from "../../src/async/never-aborts.ts";
import { sleep, waitAtMost } from "../../src/async/sleep.ts";
import type {
  Ending,
  Execution,
  Handle,
  HookRequest,
  HookRunner,
  StopLimits,
} from "../../src/infrastructure/execution.ts";
import type { AdoptOptions, Infrastructure, PoolType, StartOptions } from "../../src/infrastructure/pool-type.ts";
import { ShortageError } from "../../src/process/system-errors.ts";
import type { Program } from "../../src/program/program.ts";
import { hookGraceMs } from "../../src/program/run-hooks.ts";
import { Disk, type DiskParts } from "./disk.ts";
import { dockerPoolOn } from "./docker-pool.ts";
import type { FlowPlan } from "./engine.ts";
import type { EngineConnections } from "./engine-connections.ts";
import type { Faults } from "./faults.ts";
import { outOfMemory, ProgramProcess } from "./program-process.ts";
import { type ProcessParts, type RunProcess, startProcess } from "./run-process.ts";
import type { Owner } from "./virtual-clock.ts";

/** What a machine needs of the world. */
export interface MachineParts extends ProcessParts, DiskParts {
  readonly faults: Faults;
  /** Called before a process starts. */
  onStart(owner: Owner, flowRunId: string): void;
}

/** The grace period between SIGTERM and SIGKILL. */
const graceMs = 30_000;
/** How often an adopted process is looked at. */
const lookMs = 500;

/** A machine, and what outlives the lictor processes on it. */
export class Machine {
  readonly disk: Disk;
  readonly processes = new Map<string, RunProcess>();
  /** Temporary files of flow runs that nobody has removed, with the id of the flow run. */
  readonly temporaryFiles = new Map<string, string>();
  wallOffsetMs = 0;
  hostName: string;

  constructor(
    readonly name: string,
    private readonly parts: MachineParts,
    /** The engine of its work pool. Null if flow runs are processes of this machine. */
    readonly containers: EngineConnections | null,
    /** The cluster of its work pool. Null if flow runs are no Jobs. */
    private readonly cluster: { poolType(owner: Owner): PoolType } | null = null,
  ) {
    this.disk = new Disk(parts);
    this.hostName = name;
  }

  /** Returns the processes that run. */
  living(): RunProcess[] {
    return [...this.processes.values()].filter((process) => process.isAlive);
  }

  /** Kills all processes of flow runs, as the end of a container does. */
  killAll(why: string): void {
    for (const process of this.processes.values()) process.signal("SIGKILL", why);
  }

  /** The exit codes of programs are lost with the disk, or with the power, because they are not synced. */
  loseExitCodes(): void {
    for (const process of this.processes.values()) if (process instanceof ProgramProcess) process.loseRecord();
  }

  /** Returns the engine if it is on this machine. */
  get ownEngine(): EngineConnections | null {
    return this.containers?.engine.isRemote === false ? this.containers : null;
  }

  /** Returns the pool type for one lictor process: processes of this machine, containers of its engine, or Jobs. */
  poolType(owner: Owner): PoolType {
    if (this.cluster) return this.cluster.poolType(owner);
    if (this.containers) return dockerPoolOn(this.containers.of(owner));
    return {
      name: "process",
      isLocal: true,
      baseJobTemplate: { job_configuration: {}, variables: {} },
      open: async () => this.#infrastructure(owner),
    };
  }

  #infrastructure(owner: Owner): Infrastructure {
    return {
      toJob: (_fields, { flowRun }) => ({ program: toProgram(this.parts.planOf(flowRun.id)) }),
      obstacle: async () => null,
      start: (_job, options) => this.#start(owner, options),
      adopt: (handle, options) => this.#adopt(owner, handle, options),
      hooksOfLost: () => ({ runsItself: { cancellation: false, crashed: true }, run: async () => undefined }),
      findAbandoned: async ({ identifier, proof }) => {
        await this.#step(owner);
        const process = this.processes.get(identifier);
        if (!process?.isAlive || process.flowRunId !== proof.flowRunId) return null;
        return { stop: (why, limits) => this.#stop(owner, process, why, limits) };
      },
      findStarted: async () => [],
      integrations: async () => [],
      [Symbol.dispose]: () => undefined,
    };
  }

  async #start(owner: Owner, { flowRunId, onHandle }: StartOptions): Promise<Execution> {
    const { faults, clock, random, trace } = this.parts;
    const pid = String(this.parts.nextPid());
    const proof: JsonObject = { flowRunId, temporary: pid };
    await onHandle({ poolType: "process", identifier: "", proof });
    await this.#step(owner);
    const truth = this.parts.truthOf(flowRunId);
    if (faults.happens("start failed")) {
      truth.losses.push("it could not be started");
      throw new Error("spawn ENOEXEC");
    }
    if (faults.happens("machine short")) throw new ShortageError("EAGAIN", "spawn EAGAIN");
    this.parts.onStart(owner, flowRunId);
    const process = startProcess(this.parts, { flowRunId, controller: owner, pid: Number(pid) });
    const handle: Handle = { poolType: "process", identifier: pid, proof };
    this.processes.set(pid, process);
    this.temporaryFiles.set(pid, flowRunId);
    trace(() => `${owner.name} started ${process.owner.name} for ${flowRunId} on ${this.name}`);
    if (faults.happens("process killed"))
      clock.after(random() * 20_000, process.owner, () => process.signal("SIGKILL", outOfMemory));
    await this.#step(owner);
    await onHandle(handle);
    const ended = new Promise<Ending>((resolve) => {
      process.onEnd(owner, () => resolve(process.ending as Ending));
    });
    return this.#execution(owner, process, handle, ended);
  }

  /** Finds the process as the real infrastructure does: by its identity, or by the flow run's id in its environment. */
  async #adopt(owner: Owner, handle: Handle, { flowRunId }: AdoptOptions): Promise<Execution> {
    const { identifier } = handle;
    await this.#step(owner);
    const process = this.living().find((each) =>
      identifier === "" ? each.flowRunId === flowRunId : each.pid === Number(identifier),
    );
    this.parts.trace(() => `${owner.name} adopts ${process?.owner.name ?? "no process"} for ${flowRunId}`);
    const found = process ? { ...handle, identifier: String(process.pid) } : handle;
    const gone = (mayHaveBegun: boolean): Ending => ({ kind: "gone", why: "The process is gone.", mayHaveBegun });
    const program = this.processes.get(String(handle.proof.temporary));
    const wasProgram = program instanceof ProgramProcess;
    const notFound = gone(identifier !== "" || (wasProgram && program.hasBegun));
    const ended = process ? this.#watch(process).then(() => gone(true)) : Promise.resolve(notFound);
    return this.#execution(
      owner,
      process ?? null,
      found,
      wasProgram ? ended.then((end) => program.recorded ?? end) : ended,
    );
  }

  /** An adopted process is no child, so it is looked at again and again. */
  async #watch(process: RunProcess): Promise<void> {
    while (process.isAlive) await sleep(lookMs, neverAborts);
  }

  #execution(owner: Owner, process: RunProcess | null, handle: Handle, ended: Promise<Ending>): Execution {
    const hooks: HookRunner = {
      runsItself: { cancellation: false, crashed: false },
      run: async (call) => await this.#runHooks(owner, call),
    };
    return {
      handle,
      started: Promise.resolve(),
      ended,
      hooks,
      reportsRunning: true,
      sendsHeartbeats: true,
      stop: async (why, limits) => (process ? await this.#stop(owner, process, why, limits) : "stopped"),
      endLeftovers: async () => await this.#step(owner),
      [Symbol.asyncDispose]: async () => {
        await this.#step(owner);
        this.temporaryFiles.delete(String(handle.proof.temporary));
      },
    };
  }

  /** Hooks may take longer than the flow. The end of the worker ends them. */
  async #runHooks(owner: Owner, { kind, flowRun, end, leave }: HookRequest): Promise<void> {
    const { faults, random, truthOf } = this.parts;
    await this.#step(owner);
    truthOf(flowRun.id).hooks.add(kind);
    const durationMs = faults.happens("hooks slow") ? random() * 300_000 : random() * 2_000;
    await sleep(durationMs, end);
    if (end.aborted) await sleep(random() * hookGraceMs, leave);
    await this.#step(owner);
  }

  async #stop(
    owner: Owner,
    process: RunProcess,
    why: "cancel" | "kill",
    { leave }: StopLimits,
  ): Promise<"stopped" | "had ended"> {
    // A program that ends by itself at this moment is not told from one that tidies up.
    if (process instanceof ProgramProcess) process.truth.losses.push(why);
    await this.#step(owner);
    if (why === "cancel" && process.controller === owner) {
      if (process.reported) return "had ended";
      process.hasIntent = true;
    }
    process.signal("SIGTERM", why);
    const ended = new Promise<void>((resolve) => process.onEnd(owner, resolve));
    await waitAtMost(ended, graceMs, leave);
    process.signal("SIGKILL", why);
    await ended;
    return "stopped";
  }

  /** A call of the system takes some time. A dead owner never gets its result. */
  async #step(owner: Owner): Promise<void> {
    this.parts.onStep(owner);
    if (!owner.alive) return await new Promise(() => undefined);
    await this.parts.clock.pause(this.parts.random() * 20, owner);
    this.parts.onStep(owner);
    if (!owner.alive) return await new Promise(() => undefined);
  }
}

function toProgram({ isProgram, timeoutSeconds }: FlowPlan): Program {
  if (!isProgram) return { command: null, env: {}, reporter: "engine" };
  const rules = { timeoutSeconds, retries: null, retryDelaySeconds: null };
  return { command: ["any"], env: {}, reporter: "worker", parameters: "{}", rules };
}
