// The world of one seed: a server, machines with lictor processes, flow runs, a user who cancels them, and faults. After
// the faults, everything gets the time to end. Then the invariants are checked.
import { replaceClock } from "../../src/async/clock.ts";
import type { OnLost } from "../../src/run/run-context.ts";
import { pick, type Random, randomFrom } from "../support/random.ts";
import { checkEnding, checkStart, mostRequestsOf } from "./bounds.ts";
import { ContainerEngine } from "./container-engine.ts";
import { mayDie } from "./deaths.ts";
import type { FlowPlan, Truth } from "./engine.ts";
import { EngineConnections } from "./engine-connections.ts";
import { Faults } from "./faults.ts";
import { createPool, createRun, engineIncidents, incidents, requestStop } from "./incidents.ts";
import { type CheckedWorld, checkDrained, findViolations } from "./invariants.ts";
import type { LictorProcess } from "./lictor-process.ts";
import { Machine } from "./machine.ts";
import { Network } from "./network.ts";
import { haveAllEnded, isBeginUnknown, isUnpromised } from "./promises.ts";
import type { RunFacts } from "./run-facts.ts";
import { ServerModel } from "./server-model.ts";
import { clusterIncidents, SimulatedCluster } from "./simulated-cluster.ts";
import { startLictor } from "./supervisor.ts";
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
  readonly createsPool: boolean;
  readonly cancelsAbandoned: boolean;
  readonly #faultsUntilMs: number;
  #lastId = 0;
  #lastPid = 100;
  workerCount = 0;
  /** Nothing is started any more. */
  isOver = false;

  constructor(
    readonly seed: number,
    readonly print?: (line: string) => void,
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
    this.createsPool = random() < 0.8;
    this.cancelsAbandoned = random() < 0.3;
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
    const mostRequests = mostRequestsOf(this);
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
      await this.#runUntil(latest, () => haveAllEnded(this));
      await this.#runUntil(clock.now + quietMs, () => false);
    } while (this.onLost === "reschedule" && clock.now < latest && !haveAllEnded(this));
  }

  /** Whether the first lictor processes still run. */
  get isCalm(): boolean {
    return this.running().length === this.lictors.length;
  }

  /** The lictor processes that run now. */
  running(): LictorProcess[] {
    return this.lictors.filter(({ owner, ended }) => owner.alive && !ended);
  }

  isUnpromised(id: string): boolean {
    return isUnpromised(this, id);
  }

  isBeginUnknown(id: string): boolean {
    return isBeginUnknown(this, id);
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
      onStart: (owner: Owner, flowRunId: string) => checkStart(this, owner, flowRunId),
      planOf: (id: string): FlowPlan => this.factsOf(id).plan,
      truthOf: (id: string): Truth => this.factsOf(id).truth,
    };
    const machineCount = 1 + Math.floor(random() * 2);
    const openEngine = (name: string, isRemote: boolean): EngineConnections => {
      const engine = new EngineConnections(new ContainerEngine(name, isRemote, parts), parts);
      this.engines.push(engine);
      return engine;
    };
    if (this.hasCluster) this.cluster = new SimulatedCluster({ ...parts, onEnding: (id) => checkEnding(this, id) });
    const remote = this.hasContainers && random() < 0.4 ? openEngine("remote engine", true) : null;
    for (let index = 1; index <= machineCount; index++) {
      const engine = this.hasContainers ? (remote ?? openEngine(`engine ${index}`, false)) : null;
      this.machines.push(new Machine(`machine ${index}`, parts, engine, this.cluster));
    }
    this.workerCount = 1 + Math.floor(random() * 3);
    for (let index = 1; index <= this.workerCount; index++) {
      const machine = this.machines[(index - 1) % machineCount] as Machine;
      clock.after(random() * 1_000, world, () => startLictor(this, machine, `w${index}`));
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

  /** Ends all lictor processes gently, and returns what they leave behind. */
  async #drain(): Promise<string[]> {
    const { clock } = this;
    this.isOver = true;
    this.trace(() => "everything is drained");
    const running = this.running();

    for (const lictor of running) requestStop(this, lictor, "drain");
    await this.#runUntil(clock.now + drainMs, () => this.running().length === 0);
    await this.#runUntil(clock.now + 1, () => false);
    return [...this.exceeded, ...running.flatMap((lictor) => checkDrained(lictor))];
  }

  /** Returns what is known of a flow run. */
  factsOf(id: string): RunFacts {
    return this.runs.get(id) as RunFacts;
  }

  /** Returns ids that look like UUIDs, the same ones for the same seed. */
  #newId(): string {
    const count = (++this.#lastId).toString(16).padStart(12, "0");
    const mixed = Math.floor(this.random() * 2 ** 32);
    return `${mixed.toString(16).padStart(8, "0")}-0000-4000-8000-${count}`;
  }
}
