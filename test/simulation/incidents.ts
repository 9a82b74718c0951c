// What happens in a seed besides the faults of single requests and processes: what users and operators do, and what
// happens to the server and to the machines.
import { StopRequested, type StopStep } from "../../src/host/stop-control.ts";
import { isFinal } from "../../src/run/states.ts";
import { pick } from "../support/random.ts";
import { dockerTemplate, programVariables } from "./docker-pool.ts";
import type { FlowPlan, Truth } from "./engine.ts";
import type { EngineConnections } from "./engine-connections.ts";
import { anyKubernetesTemplate } from "./kubernetes-pool.ts";
import type { LictorProcess } from "./lictor-process.ts";
import type { RunFacts } from "./run-facts.ts";
import { poolName, startLictor } from "./supervisor.ts";
import { epochMs } from "./virtual-clock.ts";
import type { World } from "./world.ts";

/** What may happen once in a seed, and in which share of the seeds. */
export const incidents: readonly (readonly [share: number, begin: (world: World) => void])[] = [
  [0.3, stopServer],
  [0.2, restartGently],
  [0.1, signalTwice],
  [0.2, setClock],
  [0.1, deletePool],
  [0.1, pausePool],
  [0.1, fillDisk],
];

/** The same for container engines. */
export const engineIncidents: typeof incidents = [
  [0.3, restartEngine],
  [0.1, freezeEngine],
  [0.3, killContainer],
];

/** Creates the work pool. */
export function createPool(world: World): void {
  const { server, random, hasContainers, hasCluster } = world;
  const concurrency_limit = pick(random, [null, null, null, 1, 2]);
  const type = hasContainers ? "docker" : hasCluster ? "kubernetes" : "process";
  const autoRemove = hasContainers && random() < 0.2;
  world.removesContainers ||= autoRemove;
  const base_job_template = hasContainers
    ? dockerTemplate(autoRemove)
    : hasCluster
      ? anyKubernetesTemplate(random)
      : { job_configuration: {}, variables: {} };
  server.handle("POST", "/work_pools/", { name: poolName, type, base_job_template, concurrency_limit });
}

/** Creates a flow run. Some of them are cancelled later. */
export function createRun(world: World): void {
  const { random, server, clock, runs } = world;
  if (!server.pools.has(poolName)) return;
  const deploymentId = server.addDeployment("d", poolName);
  const retries = pick(random, [0, 0, 1]);
  const laterMs = pick(random, [0, 0, 0, 5_000, 30_000]) * random();
  const scheduled_time = new Date(epochMs + Math.floor(clock.now + laterMs)).toISOString();
  const isProgram = random() < 0.5;
  const plan: FlowPlan = {
    durationMs: pick(random, [200, 3_000, 20_000]) * random(),
    failures: pick(random, [0, 0, 0, 1, 2]),
    isProgram,
    timeoutSeconds: isProgram && random() < 0.3 ? pick(random, [1, 5, 30]) : null,
  };
  const response = server.handle("POST", `/deployments/${deploymentId}/create_flow_run`, {
    name: `run${runs.size + 1}`,
    empirical_policy: { retries, retry_delay: pick(random, [0, 5]) },
    state: { type: "SCHEDULED", state_details: { scheduled_time } },
    job_variables: world.hasContainers || world.hasCluster ? programVariables(plan) : {},
  });
  const { id, name } = response.body as { id: string; name: string };
  const truth: Truth = { executions: 0, reported: null, ranMs: 0, losses: [], reschedules: 0, hooks: new Set() };
  const facts: RunFacts = { id, name, plan, retries, truth, cancelledAtMs: null };
  runs.set(id, facts);
  if (random() >= 0.25) return;
  world.cancellationsToCome++;
  clock.after(random() * 30_000, world.owner, () => cancel(world, facts));
}

/** A user cancels a flow run, as the UI does. */
function cancel(world: World, facts: RunFacts): void {
  world.cancellationsToCome--;
  const { server, clock } = world;
  const run = server.runs.get(facts.id);
  if (!run || isFinal(run.state)) return;
  world.trace(() => `a user cancels ${run.name}`);
  facts.cancelledAtMs = clock.now;
  server.handle("POST", `/flow_runs/${run.id}/set_state`, { state: { type: "CANCELLING" }, force: false });
}

function stopServer({ random, clock, owner, network, trace }: World): void {
  trace(() => "the server is down");
  network.isServerDown = true;
  network.breakSockets();
  clock.after(random() * 30_000, owner, () => {
    trace(() => "the server is up");
    network.isServerDown = false;
  });
}

/** A rolling update: the new process may start before the old one has drained. */
function restartGently(world: World): void {
  const lictor = pick(world.random, world.running());
  if (!lictor) return;
  if (world.random() < 0.5) {
    lictor.isReplaced = true;
    startLictor(world, lictor.machine, lictor.place);
  }
  requestStop(world, lictor, "drain");
}

/** A user presses Ctrl-C twice. */
function signalTwice(world: World): void {
  const { random, clock, owner } = world;
  const lictor = pick(random, world.running());
  if (!lictor) return;
  requestStop(world, lictor, "drain");
  clock.after(random() * 5_000, owner, () => requestStop(world, lictor, "kill"));
}

/** Sends a signal to a lictor process. */
export function requestStop({ clock, trace }: World, { name, owner, stop }: LictorProcess, step: StopStep): void {
  trace(() => `${name} gets the step ${step}`);
  clock.after(0, owner, () => stop.request(step, new StopRequested("received SIGTERM", 0)));
}

/** The wall clock of a machine is set by up to an hour, and later set right again. */
function setClock(world: World): void {
  const { random, clock, owner, machines, lictors, trace } = world;
  world.clockWasSet = true;
  const machine = pick(random, machines);
  const set = (ms: number): void => {
    trace(() => `the clock of ${machine.name} is set to ${ms} ms`);
    machine.wallOffsetMs = ms;
    for (const lictor of lictors) if (lictor.machine === machine) lictor.owner.wallOffsetMs = ms;
  };
  set(pick(random, [-3_600_000, -20_000, 20_000, 3_600_000]));
  clock.after(random() * 30_000, owner, () => set(0));
}

/** A user deletes the work pool, and creates it again later. */
function deletePool(world: World): void {
  const { random, clock, owner, server, trace } = world;
  trace(() => "a user deletes the work pool");
  server.deletePool(poolName);
  clock.after(random() * 20_000, owner, () => createPool(world));
}

function fillDisk({ random, clock, owner, machines, trace }: World): void {
  const { disk, name } = pick(random, machines);
  trace(() => `the disk of ${name} is full`);
  disk.isFull = true;
  clock.after(random() * 20_000, owner, () => {
    trace(() => `the disk of ${name} has space again`);
    disk.isFull = false;
  });
}

/** The engine restarts. Some engines let containers go on meanwhile, and the others end them. */
function restartEngine(world: World): void {
  const engine = pick(world.random, world.engines);
  stopEngine(world, engine, world.random() < 0.5 ? null : "engine restarted");
}

/** Stops an engine, and starts it again later. Kills its containers if there is a reason for that. */
export function stopEngine(world: World, connections: EngineConnections, killedBy: string | null): void {
  const { random, clock, owner, trace } = world;
  const { engine } = connections;
  trace(() => `${engine.name} is down${killedBy ? ", and its containers end" : ""}`);
  engine.isDown = true;
  connections.breakAll();
  if (killedBy) engine.killAll(killedBy);
  clock.after(random() * 20_000, owner, () => {
    trace(() => `${engine.name} is up`);
    engine.isDown = false;
  });
}

/** Somebody kills a container. */
function killContainer({ random, engines }: World): void {
  const running = engines.flatMap(({ engine }) => engine.running());
  pick(random, running)?.process?.signal("SIGKILL", "docker kill");
}

/** The engine does not answer for some time. */
function freezeEngine({ random, clock, owner, engines, trace }: World): void {
  const { engine } = pick(random, engines);
  trace(() => `${engine.name} is frozen`);
  engine.isFrozen = true;
  clock.after(random() * 90_000, owner, () => {
    trace(() => `${engine.name} goes on`);
    engine.isFrozen = false;
  });
}

function pausePool({ random, clock, owner, server, trace }: World): void {
  const pause = (is_paused: boolean): void => {
    trace(() => `the work pool is ${is_paused ? "paused" : "resumed"}`);
    server.handle("PATCH", `/work_pools/${poolName}`, { is_paused });
  };
  pause(true);
  clock.after(random() * 20_000, owner, () => pause(false));
}
