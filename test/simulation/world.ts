// The world of one seed: a server, machines with lictor processes, flow runs, a user who cancels them, and faults. After
// the faults, everything gets the time to end. Then the invariants are checked.
import { replaceClock } from "../../src/async/clock.ts";
import { StopRequested, type StopStep } from "../../src/host/stop-control.ts";
import { instanceLabel } from "../../src/job/labels.ts";
import type { OnLost } from "../../src/run/run-context.ts";
import { isFinal } from "../../src/run/states.ts";
import { pick, type Random, randomFrom } from "../support/random.ts";
import type { FlowPlan, Truth } from "./engine.ts";
import { deaths, Faults } from "./faults.ts";
import { type CheckedWorld, findLeftFiles, findViolations, leftBehind } from "./invariants.ts";
import { LictorProcess } from "./lictor-process.ts";
import { Machine } from "./machine.ts";
import { heartbeatEvent, Network } from "./network.ts";
import { isUnreachable, type RunFacts } from "./run-facts.ts";
import { ServerModel } from "./server-model.ts";
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

const poolName = "p";
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

/** Everything that one seed consists of. */
class World implements CheckedWorld {
  readonly random: Random;
  readonly world = createOwner("world");
  readonly clock = new VirtualClock(this.world);
  readonly faults: Faults;
  readonly server: ServerModel;
  readonly network: Network;
  readonly machines: Machine[] = [];
  readonly lictors: LictorProcess[] = [];
  readonly runs = new Map<string, RunFacts>();
  readonly limit: number | null;
  readonly onLost: OnLost;
  readonly lostAfterSeconds: number;
  /** Flow runs that a machine or a disk that is gone had. */
  readonly lostWithoutDisk = new Set<string>();
  /** Limits that were exceeded. */
  readonly exceeded: string[] = [];
  readonly #trace: (line: () => string) => void;
  readonly #createsPool: boolean;
  readonly #cancelsAbandoned: boolean;
  readonly #faultsUntilMs: number;
  #lastId = 0;
  #lastPid = 100;
  #workerCount = 0;
  #cancellationsToCome = 0;
  #isOver = false;

  constructor(
    readonly seed: number,
    private readonly print?: (line: string) => void,
  ) {
    this.random = randomFrom(seed);
    const { random, clock, world } = this;
    this.#trace = print ? (line) => print(`${(clock.now / 1000).toFixed(3).padStart(9)} ${line()}`) : () => undefined;
    this.faults = new Faults(random, (kind) => this.#trace(() => `fault: ${kind}`));
    this.server = new ServerModel(
      () => epochMs + Math.floor(clock.now),
      () => this.#newId(),
    );
    const trace = this.#trace;
    const onStep = (owner: Owner): void => this.#onStep(owner);
    this.network = new Network({ clock, server: this.server, faults: this.faults, random, world, trace, onStep });
    this.lostAfterSeconds = pick(random, [0, 60]);
    this.onLost = random() < 0.2 ? "reschedule" : "crash";
    this.limit = pick(random, [null, 1, 2, 3]);
    this.#createsPool = random() < 0.8;
    this.#cancelsAbandoned = random() < 0.3;
    this.#faultsUntilMs = 3_000 + random() * 30_000;
  }

  /** Runs the world to its end and returns what was violated. */
  async run(): Promise<SeedResult> {
    using _clock = replaceClock(this.clock);
    this.#setUp();
    const { clock, faults, network } = this;
    await this.#runUntil(this.#faultsUntilMs, () => false);
    faults.active = false;
    this.#trace(() => "the faults end");
    network.isServerDown = false;
    await this.#runUntil(clock.now + healingMs, () => this.#haveAllEnded());
    await this.#runUntil(clock.now + quietMs, () => false);
    const violations = findViolations(this);
    // What is left of a violation would be reported twice.
    if (violations.length === 0) violations.push(...(await this.#drain()));
    if (clock.eventCount >= maxEvents) violations.push(`more than ${maxEvents} events`);
    const requestCount = this.lictors.reduce((sum, { owner }) => sum + (network.requestCounts.get(owner) ?? 0), 0);
    const mostRequests = this.#mostRequests();
    if (requestCount > mostRequests) violations.push(`${requestCount} requests instead of at most ${mostRequests}`);
    const faultCount = [...faults.counts.values()].reduce((sum, count) => sum + count, 0);
    const { now: virtualMs, eventCount } = clock;
    return { seed: this.seed, violations, faultCount, eventCount, requestCount, virtualMs };
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
    // A sweep finds flow runs by their labels and by their work pool.
    const isFound = run !== undefined && this.#isLabelled(run) && run.work_queue_id !== null;
    if (this.lostAfterSeconds === 0 || !isFound) return true;
    // An engine that never sent a heartbeat could still run.
    return run.state_type === "RUNNING" && !this.server.hasEvent(id, heartbeatEvent);
  }

  /** The labels of an earlier claim may name a process that lives, and then the flow run does not look lost. */
  #isLabelled({ id, labels }: ModelRun): boolean {
    const labelled = this.lictors.find(({ directory }) => directory === labels[instanceLabel]);
    if (!labelled) return false;
    return labelled.owner === this.network.claimants.get(id) || !this.running().includes(labelled);
  }

  async #runUntil(ms: number, isOver: () => boolean): Promise<void> {
    await this.clock.run(ms, () => isOver() || this.clock.eventCount >= maxEvents);
  }

  #setUp(): void {
    const { random, server, clock, world, faults, network } = this;
    this.#trace(() => `seed ${this.seed}: limit ${this.limit}, faults ${faults.kinds().join(", ") || "none"}`);
    server.handle("POST", "/work_pools/", this.#poolToCreate());
    const parts = {
      ...{ clock, network, random, faults, trace: this.#trace },
      onStep: (owner: Owner) => this.#onStep(owner),
      onStart: (owner: Owner) => this.#onStart(owner),
      planOf: (id: string): FlowPlan => this.#factsOf(id).plan,
      truthOf: (id: string): Truth => this.#factsOf(id).truth,
    };
    const machineCount = 1 + Math.floor(random() * 2);
    for (let index = 1; index <= machineCount; index++) {
      this.machines.push(new Machine(`machine ${index}`, parts, () => ++this.#lastPid));
    }
    this.#workerCount = 1 + Math.floor(random() * 3);
    for (let index = 1; index <= this.#workerCount; index++) {
      const machine = this.machines[(index - 1) % machineCount] as Machine;
      clock.after(random() * 1_000, world, () => this.#startLictor(machine, `w${index}`));
    }
    const runCount = 1 + Math.floor(random() * 5);
    for (let index = 0; index < runCount; index++) {
      clock.after(random() * this.#faultsUntilMs * 0.8, world, () => this.#createRun());
    }
    for (const [share, plan] of this.#plans) {
      if (random() < share) clock.after(random() * this.#faultsUntilMs * 0.9, world, plan);
    }
  }

  /** What may happen once in a seed, and in which share of the seeds. */
  readonly #plans: readonly [number, () => void][] = [
    [0.3, () => this.#stopServer()],
    [0.2, () => this.#restartGently()],
    [0.1, () => this.#signalTwice()],
    [0.2, () => this.#setClock()],
    [0.1, () => this.#deletePool()],
    [0.1, () => this.#pausePool()],
    [0.1, () => this.#fillDisk()],
  ];

  #poolToCreate(): object {
    const template = { job_configuration: {}, variables: {} };
    const concurrency_limit = pick(this.random, [null, null, null, 1, 2]);
    return { name: poolName, type: "process", base_job_template: template, concurrency_limit };
  }

  #createRun(): void {
    const { random, server, clock, world } = this;
    if (!server.pools.has(poolName)) return;
    const deploymentId = server.addDeployment("d", poolName);
    const retries = pick(random, [0, 0, 1]);
    const laterMs = pick(random, [0, 0, 0, 5_000, 30_000]) * random();
    const scheduled_time = new Date(epochMs + Math.floor(clock.now + laterMs)).toISOString();
    const plan = { durationMs: pick(random, [200, 3_000, 20_000]) * random(), failures: pick(random, [0, 0, 0, 1, 2]) };
    const response = server.handle("POST", `/deployments/${deploymentId}/create_flow_run`, {
      name: `run${this.runs.size + 1}`,
      empirical_policy: { retries, retry_delay: pick(random, [0, 5]) },
      state: { type: "SCHEDULED", state_details: { scheduled_time } },
    });
    const { id, name } = response.body as { id: string; name: string };
    const truth: Truth = { executions: 0, reported: null, losses: [], hooks: new Set() };
    this.runs.set(id, { id, name, plan, retries, truth, cancelledAtMs: null });
    if (random() >= 0.25) return;
    this.#cancellationsToCome++;
    clock.after(random() * 30_000, world, () => this.#cancel(id));
  }

  /** A user cancels a flow run, as the UI does. */
  #cancel(id: string): void {
    this.#cancellationsToCome--;
    const run = this.server.runs.get(id);
    if (!run || isFinal(run.state)) return;
    this.#trace(() => `a user cancels ${run.name}`);
    this.#factsOf(id).cancelledAtMs = this.clock.now;
    this.server.handle("POST", `/flow_runs/${id}/set_state`, { state: { type: "CANCELLING" }, force: false });
  }

  #stopServer(): void {
    const { random, clock, world, network } = this;
    this.#trace(() => "the server is down");
    network.isServerDown = true;
    network.breakSockets();
    clock.after(random() * 30_000, world, () => {
      this.#trace(() => "the server is up");
      network.isServerDown = false;
    });
  }

  /** A rolling update: the new process may start before the old one has drained. */
  #restartGently(): void {
    const lictor = pick(this.random, this.running());
    if (!lictor) return;
    if (this.random() < 0.5) {
      lictor.isReplaced = true;
      this.#startLictor(lictor.machine, lictor.place);
    }
    this.#request(lictor, "drain");
  }

  /** A user presses Ctrl-C twice. */
  #signalTwice(): void {
    const lictor = pick(this.random, this.running());
    if (!lictor) return;
    this.#request(lictor, "drain");
    this.clock.after(this.random() * 5_000, this.world, () => this.#request(lictor, "kill"));
  }

  #request(lictor: LictorProcess, step: StopStep): void {
    const { owner, stop } = lictor;
    this.#trace(() => `${lictor.name} gets the step ${step}`);
    this.clock.after(0, owner, () => stop.request(step, new StopRequested("received SIGTERM", 0)));
  }

  /** The wall clock of a machine is set by up to an hour, and later set right again. */
  #setClock(): void {
    const { random, clock, world } = this;
    const machine = pick(random, this.machines);
    const set = (ms: number): void => {
      this.#trace(() => `the clock of ${machine.name} is set to ${ms} ms`);
      machine.wallOffsetMs = ms;
      for (const lictor of this.lictors) if (lictor.machine === machine) lictor.owner.wallOffsetMs = ms;
    };
    set(pick(random, [-3_600_000, -20_000, 20_000, 3_600_000]));
    clock.after(random() * 30_000, world, () => set(0));
  }

  /** A user deletes the work pool, and creates it again later. */
  #deletePool(): void {
    const { random, clock, world, server } = this;
    this.#trace(() => "a user deletes the work pool");
    server.deletePool(poolName);
    clock.after(random() * 20_000, world, () => server.handle("POST", "/work_pools/", this.#poolToCreate()));
  }

  #fillDisk(): void {
    const { disk, name } = pick(this.random, this.machines);
    this.#trace(() => `the disk of ${name} is full`);
    disk.isFull = true;
    this.clock.after(this.random() * 20_000, this.world, () => {
      this.#trace(() => `the disk of ${name} has space again`);
      disk.isFull = false;
    });
  }

  #pausePool(): void {
    const { random, clock, world, server } = this;
    const pause = (is_paused: boolean): void => {
      this.#trace(() => `the work pool is ${is_paused ? "paused" : "resumed"}`);
      server.handle("PATCH", `/work_pools/${poolName}`, { is_paused });
    };
    pause(true);
    clock.after(random() * 20_000, world, () => pause(false));
  }

  /** Starts a lictor process. The names of its worker and of its host change together. */
  #startLictor(machine: Machine, place: string): void {
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
        trace: this.print ? (line) => this.#trace(() => `${name}: ${line()}`) : null,
      },
      () => {
        this.#trace(() => `${name} ended: ${lictor.ended?.error ?? "drained"}`);
        // A supervisor starts it again.
        if (!lictor.isReplaced) this.clock.after(restartMs, this.world, () => this.#startLictor(machine, place));
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
    lictor.onLeave = () => this.clock.after(0, this.world, () => this.#onExit(lictor));
    this.lictors.push(lictor);
    this.#trace(() => `${name} starts on ${machine.name}`);
    this.clock.after(0, lictor.owner, () => void lictor.run());
  }

  /** A lictor process has exited without an end of what it did. */
  #onExit(lictor: LictorProcess): void {
    if (!lictor.owner.alive || lictor.ended) return;
    this.#trace(() => `${lictor.name} exits at once`);
    lictor.owner.alive = false;
    this.clock.after(restartMs, this.world, () => this.#startLictor(lictor.machine, lictor.place));
  }

  /** At each step, a lictor process may die, alone or with everything around it. */
  #onStep(owner: Owner): void {
    if (!owner.alive || !this.faults.active) return;
    const lictor = this.lictors.find((each) => each.owner === owner);
    const death = deaths.find((kind) => this.faults.happens(kind));
    if (!lictor || !death) return;
    const { machine } = lictor;
    const dying = death === "worker killed" ? [lictor] : this.running().filter((each) => each.machine === machine);
    for (const each of dying) this.#kill(each);
    if (death === "worker killed") return;
    machine.killAll(death);
    if (death === "power lost") this.#losePower(machine);
    if (death === "machine lost") this.#loseDisk(machine);
  }

  /** Flow runs whose records were not synced cannot be continued. */
  #losePower(machine: Machine): void {
    const { disk, temporaryFiles } = machine;
    const lost = [...disk.files].filter(([, { text, syncedText }]) => text !== syncedText).map(([path]) => path);
    disk.losePower();
    for (const path of lost) this.#lose(machine, path);
    // They are in memory, and a record that is lost would name them.
    temporaryFiles.clear();
  }

  /** Ends a lictor process without an end of what it did. A supervisor starts another one. */
  #kill(lictor: LictorProcess): void {
    const { machine, owner, name, directory, place } = lictor;
    owner.alive = false;
    this.#trace(() => `${name} is dead`);
    const restartAfterMs = pick(this.random, [100, 2_000, 30_000]);
    this.clock.after(restartAfterMs, this.world, () => this.#startLictor(machine, place));
    for (const path of machine.disk.failedWrites) if (path.startsWith(directory)) this.#lose(machine, path);
  }

  /**
   * Records that the journal record of a flow run is lost. Nobody can know of the temporary files that it would name. If an
   * older record is left, it does not say whether the program was started, and the flow run may be Crashed.
   */
  #lose({ temporaryFiles, disk }: Machine, path: string): void {
    const lost = path.split("/").at(-2) ?? "";
    this.lostWithoutDisk.add(lost);
    if (disk.files.get(path)?.text) this.runs.get(lost)?.truth.losses.push("its newest record was lost");
    for (const [pid, id] of temporaryFiles) if (id === lost) temporaryFiles.delete(pid);
  }

  /** The machine is replaced by one with an empty disk, and perhaps with another name. Its workers then have other names, too. */
  #loseDisk(machine: Machine): void {
    const lost = [...machine.disk.files.keys()];
    machine.disk.files.clear();
    for (const path of lost) this.#lose(machine, path);
    machine.temporaryFiles.clear();
    if (this.random() < 0.5) machine.hostName += "'";
  }

  /** Flow runs that were adopted may exceed the limit. A new one must not. */
  #onStart(owner: Owner): void {
    const lictor = this.lictors.find((each) => each.owner === owner);
    const { limit, taken } = lictor?.slots ?? { limit: null, taken: 0 };
    if (limit !== null && taken > limit)
      this.exceeded.push(`${owner.name} starts a flow run with ${taken} slots taken`);
  }

  #haveAllEnded(): boolean {
    // What was lost for ever may still be cancelled, or changed by a late request, and is to be settled then.
    if (this.#cancellationsToCome > 0 || this.network.hasLateRequests()) return false;
    for (const { id } of this.runs.values()) {
      const run = this.server.runs.get(id);
      if (!run || isFinal(run.state) || isUnreachable(run)) continue;
      if (run.state_type === "SCHEDULED" || !this.isUnpromised(id)) return false;
    }
    const isIdle = ({ worker, slots }: LictorProcess): boolean =>
      slots.taken === 0 && (worker?.runs.list().length ?? 0) === 0;
    const isClean = (machine: Machine): boolean =>
      machine.living().length === 0 && findLeftFiles(this, machine).length === 0;
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
    this.#trace(() => "everything is drained");
    const running = this.running();

    for (const lictor of running) this.#request(lictor, "drain");
    await this.#runUntil(clock.now + drainMs, () => this.running().length === 0);
    return running.flatMap((lictor) => leftBehind(lictor));
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
