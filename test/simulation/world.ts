// The world of one seed: a server, machines with lictor processes, flow runs, a user who cancels them, and faults. After
// the faults, everything gets the time to end. Then the invariants are checked.
import { replaceClock } from "../../src/async/clock.ts";
import { instanceLabel } from "../../src/job/labels.ts";
import type { OnLost } from "../../src/run/run-context.ts";
import { isFinal } from "../../src/run/states.ts";
import { pick, type Random, randomFrom } from "../support/random.ts";
import { ContainerEngine } from "./container-engine.ts";
import { loseUnwritten, mayDie } from "./deaths.ts";
import type { FlowPlan, Truth } from "./engine.ts";
import { EngineConnections } from "./engine-connections.ts";
import { Faults } from "./faults.ts";
import { createPool, createRun, engineIncidents, incidents, poolName, requestStop } from "./incidents.ts";
import {
  type CheckedWorld,
  checkDrained,
  findLeft,
  findLeftContainers,
  findLeftFiles,
  findViolations,
} from "./invariants.ts";
import { LictorProcess } from "./lictor-process.ts";
import { Machine } from "./machine.ts";
import { heartbeatEvent, Network } from "./network.ts";
import { isUnreachable, type RunFacts } from "./run-facts.ts";
import { ServerModel } from "./server-model.ts";
import { clusterIncidents, findLeftJobs, SimulatedCluster } from "./simulated-cluster.ts";
import type { ModelRun } from "./state-rules.ts";
import { createOwner, epochMs, type Owner, VirtualClock } from "./virtual-clock.ts";

/** The result of one seed. */
export interface SeedResult {
  readonly seed: number;
  /** What was violated, one sentence each. */
  readonly violations: string[];
  readonly faultCount: number;
  readonly eventCount: number;
  readonly requestCount: number;
  /** The simulated time. */
  readonly virtualMs: number;
}

/** All flow runs have ended this long after the last fault. */
const healingMs = 20 * 60_000;
/** Everything stays as it is for this time after the last flow run has ended. */
const quietMs = 5_000;
/** A drain without flow runs ends in this time, or a request hangs. */
const drainMs = 90_000;
/** More events than any seed needs. A busy loop reaches it. */
const maxEvents = 200_000;
/** Bounds of the requests of lictor processes. Repetitions because of faults are included. */
const requestsPerStart = 20;
const requestsPerRun = 30;
const requestsPerSecond = 1;
/** A supervisor starts a process again after this time. */
const restartMs = 2_000;

/** Runs the world of a seed. `print` gets the trace. */
export async function runSeed(seed: number, print?: (line: string) => void): Promise<SeedResult> {
  return await new World(seed, print).run();
}

/** One of so many seeds has a work pool of containers, and one has a work pool of Jobs. The others have processes. */
const poolTypeSeeds = 3;

/** Everything that one seed consists of. */
export class World implements CheckedWorld {
  readonly random: Random;
  /** The owner of what is neither a lictor process nor a program. */
  readonly owner = createOwner("world");
  readonly clock = new VirtualClock(this.owner);
  readonly faults: Faults;
  readonly server: ServerModel;
  readonly network: Network;
  readonly machines: Machine[] = [];
  /** The container engines. Empty if flow runs are processes. */
  readonly engines: EngineConnections[] = [];
  readonly hasContainers: boolean;
  /** The cluster. Null if flow runs are no Jobs. */
  cluster: SimulatedCluster | null = null;
  readonly hasCluster: boolean;
  /** Whether the journal is gone with the container that lictor runs in. */
  readonly hasDiskInContainer: boolean;
  readonly lictors: LictorProcess[] = [];
  readonly runs = new Map<string, RunFacts>();
  readonly limit: number | null;
  readonly onLost: OnLost;
  readonly lostAfterSeconds: number;
  /** Flow runs that a machine or a disk that is gone had. */
  readonly lostWithoutDisk = new Set<string>();
  /** What was wrong meanwhile: limits that were exceeded, and what lictor processes left when they ended. */
  readonly exceeded: string[] = [];
  /** Containers may be removed at their end, so that nobody knows later whether one existed. */
  removesContainers = false;
  /** The clock of a machine was wrong at some time. */
  clockWasSet = false;
  readonly trace: (line: () => string) => void;
  /** Flow runs that will be cancelled. */
  cancellationsToCome = 0;
  readonly #createsPool: boolean;
  readonly #cancelsAbandoned: boolean;
  readonly #faultsUntilMs: number;
  #lastId = 0;
  #lastPid = 100;
  #workerCount = 0;
  #isOver = false;

  constructor(
    readonly seed: number,
    private readonly print?: (line: string) => void,
  ) {
    this.random = randomFrom(seed);
    const { random, clock, owner: world } = this;
    this.trace = print ? (line) => print(`${(clock.now / 1000).toFixed(3).padStart(9)} ${line()}`) : () => undefined;
    this.hasContainers = seed % poolTypeSeeds === 0;
    this.hasCluster = seed % poolTypeSeeds === 1;
    this.faults = new Faults(random, (kind) => this.trace(() => `fault: ${kind}`), this);
    this.server = new ServerModel(
      () => epochMs + Math.floor(clock.now),
      () => this.#newId(),
    );
    const onStep = (owner: Owner): void => mayDie(this, owner);
    const { server, faults, trace } = this;
    this.network = new Network({ clock, server, faults, random, world, trace, onStep });
    this.lostAfterSeconds = pick(random, [0, 60]);
    this.onLost = random() < 0.2 ? "reschedule" : "crash";
    this.limit = pick(random, [null, 1, 2, 3]);
    this.#createsPool = random() < 0.8;
    this.#cancelsAbandoned = random() < 0.3;
    this.hasDiskInContainer = (this.hasContainers || this.hasCluster) && random() < 0.5;
    this.#faultsUntilMs = 3_000 + random() * 30_000;
  }

  /** Runs the world to its end and returns what was violated. */
  async run(): Promise<SeedResult> {
    using _clock = replaceClock(this.clock);
    this.#setUp();
    const { clock, faults, network } = this;
    await this.#runUntil(this.#faultsUntilMs, () => false);
    faults.active = false;
    this.trace(() => "the faults end");
    network.isServerDown = false;
    for (const { engine } of this.engines) Object.assign(engine, { isDown: false, isFrozen: false });
    this.cluster?.heal();
    await this.#heal();
    const violations = findViolations(this);
    // What is left of a violation would be reported twice.
    if (violations.length === 0) violations.push(...(await this.#drain()));
    if (clock.eventCount >= maxEvents) violations.push(`more than ${maxEvents} events`);
    const countOf = (counts: ReadonlyMap<Owner, number>): number =>
      this.lictors.reduce((sum, { owner }) => sum + (counts.get(owner) ?? 0), 0);
    const requestCount = countOf(network.requestCounts);
    const clusterCount = countOf(this.cluster?.connections.requestCounts ?? new Map());
    const mostRequests = this.#mostRequests();
    if (requestCount > mostRequests) violations.push(`${requestCount} requests instead of at most ${mostRequests}`);
    if (clusterCount > mostRequests) violations.push(`${clusterCount} requests to the cluster`);
    const faultCount = [...faults.counts.values()].reduce((sum, count) => sum + count, 0);
    const { now: virtualMs, eventCount } = clock;
    return { seed: this.seed, violations, faultCount, eventCount, requestCount, virtualMs };
  }

  /** Waits until all flow runs have ended, and stay so. One that is to run anew is Crashed for a moment. */
  async #heal(): Promise<void> {
    const { clock } = this;
    const latest = clock.now + healingMs;
    do {
      await this.#runUntil(latest, () => this.#haveAllEnded());
      await this.#runUntil(clock.now + quietMs, () => false);
    } while (this.onLost === "reschedule" && clock.now < latest && !this.#haveAllEnded());
  }

  /** Whether the first lictor processes still run. */
  get isCalm(): boolean {
    return this.running().length === this.lictors.length;
  }

  /** The lictor processes that run now. */
  running(): LictorProcess[] {
    return this.lictors.filter(({ owner, ended }) => owner.alive && !ended);
  }

  /** Whether the flow run was lost in a way that a worker without a disk cannot repair. */
  isUnpromised(id: string): boolean {
    if (this.network.undone.has(id)) return true;
    if (!this.lostWithoutDisk.has(id)) return false;
    const run = this.server.runs.get(id);
    // The labels of its container say what the record said, unless they name an earlier work pool of the same name.
    const poolId = this.server.pools.get(poolName)?.id ?? "";
    const isInfrastructureLeft = this.cluster?.has(id) || this.engines.some(({ engine }) => engine.has(id, poolId));
    if (run?.work_queue_id && isInfrastructureLeft) return false;
    // A sweep finds flow runs by their claim or their labels, and by their work pool.
    const isFound = run !== undefined && this.#namesClaimant(run) && run.work_queue_id !== null;
    if (this.lostAfterSeconds === 0 || !isFound) return true;
    // An engine that never sent a heartbeat could still run.
    return run.state_type === "RUNNING" && !this.server.hasEvent(id, heartbeatEvent);
  }

  /** A program begins without a report. Its container may be removed at its end, and its start may be in doubt. */
  isBeginUnknown(id: string): boolean {
    if (this.engines.some(({ lostStarts }) => lostStarts.has(id))) return true;
    return this.lostWithoutDisk.has(id) || (this.removesContainers && !this.isCalm);
  }

  /** The labels of an earlier claim may name a process that lives, and then the flow run does not look lost. */
  #namesClaimant({ id, labels, state }: ModelRun): boolean {
    const labelled = this.lictors.find(({ directory }) => directory === labels[instanceLabel]);
    if (!labelled) return state.type === "PENDING";
    return labelled.owner === this.network.claimants.get(id) || !this.running().includes(labelled);
  }

  async #runUntil(ms: number, isOver: () => boolean): Promise<void> {
    await this.clock.run(ms, () => isOver() || this.clock.eventCount >= maxEvents);
  }

  #setUp(): void {
    const { random, clock, owner: world, faults, network } = this;
    this.trace(() => `seed ${this.seed}: limit ${this.limit}, faults ${faults.kinds().join(", ") || "none"}`);
    createPool(this);
    const nextPid = (): number => ++this.#lastPid;
    const parts = {
      ...{ clock, network, random, faults, world, nextPid, trace: this.trace },
      onStep: (owner: Owner) => mayDie(this, owner),
      onStart: (owner: Owner, flowRunId: string) => this.#onStart(owner, flowRunId),
      planOf: (id: string): FlowPlan => this.#factsOf(id).plan,
      truthOf: (id: string): Truth => this.#factsOf(id).truth,
    };
    const machineCount = 1 + Math.floor(random() * 2);
    const openEngine = (name: string, isRemote: boolean): EngineConnections => {
      const engine = new EngineConnections(new ContainerEngine(name, isRemote, parts), parts);
      this.engines.push(engine);
      return engine;
    };
    if (this.hasCluster) this.cluster = new SimulatedCluster({ ...parts, onEnding: (id) => this.#onEnding(id) });
    const remote = this.hasContainers && random() < 0.4 ? openEngine("remote engine", true) : null;
    for (let index = 1; index <= machineCount; index++) {
      const engine = this.hasContainers ? (remote ?? openEngine(`engine ${index}`, false)) : null;
      this.machines.push(new Machine(`machine ${index}`, parts, engine, this.cluster));
    }
    this.#workerCount = 1 + Math.floor(random() * 3);
    for (let index = 1; index <= this.#workerCount; index++) {
      const machine = this.machines[(index - 1) % machineCount] as Machine;
      clock.after(random() * 1_000, world, () => this.startLictor(machine, `w${index}`));
    }
    const runCount = 1 + Math.floor(random() * 5);
    for (let index = 0; index < runCount; index++) {
      clock.after(random() * this.#faultsUntilMs * 0.8, world, () => createRun(this));
    }
    for (const [share, begin] of [...incidents, ...(this.hasContainers ? engineIncidents : [])]) {
      if (random() < share) clock.after(random() * this.#faultsUntilMs * 0.9, world, () => begin(this));
    }
    const { cluster } = this;
    for (const [share, begin] of cluster ? clusterIncidents : []) {
      if (random() < share) clock.after(random() * this.#faultsUntilMs * 0.9, world, () => cluster && begin(cluster));
    }
  }

  /** Starts a lictor process. The names of its worker and of its host change together. */
  startLictor(machine: Machine, place: string): void {
    if (this.#isOver) return;
    const name = machine.hostName.replace(machine.name, place);
    const lictor = new LictorProcess(
      machine,
      this.network,
      {
        ...{
          name,
          place,
          poolName,
          limit: this.limit,
          onLost: this.onLost,
          random: this.random,
          lostAfterSeconds: this.lostAfterSeconds,
        },
        number: this.lictors.length,
        createsPool: this.#createsPool,
        cancelsAbandoned: this.#cancelsAbandoned,
        trace: this.print ? (line) => this.trace(() => `${name}: ${line()}`) : null,
      },
      () => {
        this.trace(() => `${name} ended: ${lictor.ended?.error ?? "drained"}`);
        this.clock.after(0, this.owner, () => this.exceeded.push(...findLeft(lictor)));
        loseUnwritten(this, lictor);
        // A supervisor starts it again.
        if (!lictor.isReplaced) this.clock.after(restartMs, this.owner, () => this.startLictor(machine, place));
      },
    );
    lictor.livingInstances = () =>
      this.running()
        .filter((each) => each.machine === machine)
        .map(({ directory }) => directory);
    lictor.deadDirectories = () =>
      this.lictors
        .filter((each) => each.machine === machine && (!each.owner.alive || each.ended))
        .map(({ directory }) => `${directory}/runs`);
    lictor.onLeave = () => this.clock.after(0, this.owner, () => this.#onExit(lictor));
    this.lictors.push(lictor);
    this.trace(() => `${name} starts on ${machine.name}`);
    this.clock.after(0, lictor.owner, () => void lictor.run());
  }

  /** A lictor process has exited without an end of what it did. */
  #onExit(lictor: LictorProcess): void {
    if (!lictor.owner.alive || lictor.ended) return;
    this.trace(() => `${lictor.name} exits at once`);
    lictor.owner.alive = false;
    this.clock.after(restartMs, this.owner, () => this.startLictor(lictor.machine, lictor.place));
  }

  /** Flow runs that were adopted after the claim of a new one may exceed the limit. Nothing else may. */
  #onStart(owner: Owner, flowRunId: string): void {
    const lictor = this.lictors.find((each) => each.owner === owner);
    const { limit, taken } = lictor?.slots ?? { limit: null, taken: 0 };
    const inFlight = lictor?.worker?.runs.list() ?? [];
    const place = inFlight.findIndex(({ flowRun }) => flowRun.id === flowRunId);
    const adoptedLater = inFlight.slice(place + 1).filter(({ claim }) => claim === null);
    if (limit !== null && taken - adoptedLater.length > limit)
      this.exceeded.push(`${owner.name} starts a flow run with ${taken} slots taken`);
  }

  /** Only the program of a flow run that was cancelled, or that is to run anew or has ended, may be ended. */
  #onEnding(id: string): void {
    const { name, cancelledAtMs } = this.#factsOf(id);
    const state = this.server.runs.get(id)?.state_type;
    if (state === "RUNNING" && cancelledAtMs === null)
      this.exceeded.push(`the Job of ${name} is deleted while it runs`);
  }

  #haveAllEnded(): boolean {
    // What was lost for ever may still be cancelled, or changed by a late request, and is to be settled then.
    if (this.cancellationsToCome > 0 || this.network.hasLateRequests()) return false;
    if (this.engines.some(({ isBusy }) => isBusy)) return false;
    for (const { id } of this.runs.values()) {
      const run = this.server.runs.get(id);
      if (!run || isFinal(run.state) || isUnreachable(run)) continue;
      if (run.state_type === "SCHEDULED" || !this.isUnpromised(id)) return false;
    }
    const isIdle = ({ worker, slots }: LictorProcess): boolean =>
      slots.taken === 0 && (worker?.runs.list().length ?? 0) === 0;
    const isClean = (machine: Machine): boolean =>
      machine.living().length === 0 && findLeftFiles(this, machine).length === 0;
    if (this.engines.some(({ engine }) => findLeftContainers(this, engine).length > 0)) return false;
    if (this.cluster && findLeftJobs(this, this.cluster).length > 0) return false;
    return this.machines.every(isClean) && this.running().every(isIdle);
  }

  /** Returns how many requests the lictor processes may send: some at each start, some for each flow run, and some per second. */
  #mostRequests(): number {
    const workerSeconds = (this.clock.now / 1_000) * this.#workerCount;
    return Math.round(
      this.lictors.length * requestsPerStart + this.runs.size * requestsPerRun + workerSeconds * requestsPerSecond,
    );
  }

  /** Ends all lictor processes gently, and returns what they leave behind. */
  async #drain(): Promise<string[]> {
    const { clock } = this;
    this.#isOver = true;
    this.trace(() => "everything is drained");
    const running = this.running();

    for (const lictor of running) requestStop(this, lictor, "drain");
    await this.#runUntil(clock.now + drainMs, () => this.running().length === 0);
    await this.#runUntil(clock.now + 1, () => false);
    return [...this.exceeded, ...running.flatMap((lictor) => checkDrained(lictor))];
  }

  #factsOf(id: string): RunFacts {
    return this.runs.get(id) as RunFacts;
  }

  /** Returns ids that look like UUIDs, the same ones for the same seed. */
  #newId(): string {
    const count = (++this.#lastId).toString(16).padStart(12, "0");
    const mixed = Math.floor(this.random() * 2 ** 32);
    return `${mixed.toString(16).padStart(8, "0")}-0000-4000-8000-${count}`;
  }
}
