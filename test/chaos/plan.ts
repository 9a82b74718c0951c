// What is to happen in one chaos run, and when. The same seed gives the same plan.
import { pick, type Random, randomFrom } from "../support/random.ts";

/** The kinds of faults, with what each does. */
export const faultKinds = {
  "worker-term": "SIGTERM to a worker; started again when it has ended",
  "worker-timeout": "SIGTERM to a worker, and SIGKILL before it has drained; started again",
  "worker-kill": "SIGKILL to a worker; started again",
  "worker-pause": "SIGSTOP to a worker, and SIGCONT",
  "worker-freeze": "SIGSTOP to a worker; a new one starts; SIGCONT and SIGTERM to the old one",
  "tree-kill": "SIGKILL to a worker and all processes of its flow runs; started again",
  "rolling-update": "a new worker starts, then the old one gets SIGTERM",
  "server-restart": "the server ends, by SIGTERM or SIGKILL, and starts again",
  "503": "responses 503",
  "429": "responses 429",
  "reset-before": "connections reset before the server gets the request",
  "reset-after": "connections reset after the server has committed",
  latency: "0 to 5 s before or after the server has committed",
  "half-open": "connections on which no byte passes any more, without an end",
  "disk-full": "no space in the state directory",
  "lost-events": "WebSocket frames to the workers are dropped",
  "engine-kill": "SIGKILL to one process of a flow run",
  "disk-lost": "SIGKILL to a worker, whose records are lost; started again",
  "dockerd-restart": "the container engine ends, by SIGTERM or SIGKILL, and starts again; containers go on",
  "dockerd-freeze": "SIGSTOP to the container engine, and SIGCONT",
  "container-kill": "SIGKILL to the container of a flow run",
  "container-remove": "the container of a flow run is killed and removed",
  "api-restart": "the API server of Kubernetes ends, by SIGTERM or SIGKILL, and starts again; pods go on",
  "api-forget": "the API server of Kubernetes is killed and starts again without the old versions of objects",
  "api-freeze": "SIGSTOP to the API server of Kubernetes, and SIGCONT",
  "api-cut": "connections of workers to the API server of Kubernetes end, watches too",
  "api-half-open": "connections of workers to the API server of Kubernetes on which no byte passes any more",
  "pod-oom": "SIGKILL to the program of a pod, for lack of memory",
  "pod-delete": "a user deletes the pod of a flow run",
  "pod-evict": "the pod of a flow run is evicted",
  "job-delete": "a user deletes the Job of a flow run",
  cancel: "a flow run is cancelled",
} as const;

export type FaultKind = keyof typeof faultKinds;

/** The types of work pools that a chaos run can have. */
export const poolTypes = ["process", "docker", "kubernetes"] as const;
export type PoolTypeName = (typeof poolTypes)[number];

/** The kinds for one type only. */
const kindsOfType: Record<PoolTypeName, readonly FaultKind[]> = {
  process: ["tree-kill", "engine-kill"],
  docker: ["disk-lost", "dockerd-restart", "dockerd-freeze", "container-kill", "container-remove"],
  kubernetes: [
    ...(["disk-lost", "api-restart", "api-forget", "api-freeze", "api-cut", "api-half-open"] as const),
    ...(["pod-oom", "pod-delete", "pod-evict", "job-delete"] as const),
  ],
};

/** Returns the kinds of faults that a work pool of this type can meet. */
export function faultKindsOf(poolType: PoolTypeName): FaultKind[] {
  const ofSomeType = Object.values(kindsOfType).flat();
  const isPossible = (kind: FaultKind): boolean => !ofSomeType.includes(kind) || kindsOfType[poolType].includes(kind);
  return (Object.keys(faultKinds) as FaultKind[]).filter(isPossible);
}

/** One fault. Each kind uses the numbers that it needs. */
export interface PlannedFault {
  kind: FaultKind;
  atMs: number;
  /** Which worker it strikes. */
  slot: number;
  durationMs: number;
  /** Between an end and the start after it. */
  pauseMs: number;
  /** From 0 up to 1: which target, or which variant. */
  choice: number;
}

/**
 * What executes a flow run. `reports` is a small program that acts like an engine. `exits` is a program that reports nothing
 * and exits with 7; as a `script`, it might start an engine, for all the worker knows. The worker then runs hooks in a Python.
 * As a `program`, the worker reports its states. `flow` and `failing-flow` have a real engine.
 */
export const allRunKinds = ["reports", "exits", "script", "program", "flow", "failing-flow"] as const;
export type RunKind = (typeof allRunKinds)[number];

export interface PlannedRun {
  kind: RunKind;
  atMs: number;
  seconds: number;
}

/** `runs` and `faults` are counts. */
export interface PlanOptions {
  seed: number;
  minutes: number;
  runs: number;
  faults: number;
  kinds: readonly FaultKind[];
}

/** Both in the order of their times. */
export interface Plan {
  runs: PlannedRun[];
  faults: PlannedFault[];
}

/** A restart of the server uses the processors for many seconds, so it is rare. */
const weights: Partial<Record<FaultKind, number>> = {
  "server-restart": 1,
  "disk-full": 1,
  "dockerd-restart": 1,
  "api-restart": 1,
  "api-forget": 1,
  cancel: 5,
  "engine-kill": 3,
  "container-kill": 3,
};
const usualWeight = 2;

/** A Python costs about 2 s of processor time, so most flow runs do without. */
const runKinds: readonly RunKind[] = [
  ...Array<RunKind>(10).fill("reports"),
  ...Array<RunKind>(3).fill("exits"),
  ...Array<RunKind>(4).fill("program"),
  "script",
  "flow",
  "failing-flow",
];

/** Makes the plan. Faults begin a little later than flow runs, and end with them. */
export function makePlan({ seed, minutes, runs, faults, kinds }: PlanOptions): Plan {
  const random = randomFrom(seed);
  const lengthMs = minutes * 60_000;
  return {
    runs: inOrder(Array.from({ length: runs }, (_, index) => planRun(random, lengthMs, index))),
    faults: inOrder(dealKinds(random, kinds, faults).map((kind) => planFault(random, lengthMs, kind))),
  };
}

function planRun(random: Random, lengthMs: number, index: number): PlannedRun {
  // Each kind occurs in a short run too.
  const kind = allRunKinds[index];
  // Every third flow run comes together with others, as those of a schedule do.
  const at = random();
  const atMs = random() < 1 / 3 ? Math.round(at * 10) / 10 : at;
  return { kind: kind ?? pick(random, runKinds), atMs: atMs * lengthMs, seconds: Math.round(random() ** 2 * 80) / 10 };
}

function planFault(random: Random, lengthMs: number, kind: FaultKind): PlannedFault {
  return {
    kind,
    atMs: (0.03 + 0.97 * random()) * lengthMs,
    slot: random() < 0.5 ? 0 : 1,
    durationMs: 500 + random() ** 2 * 7_500,
    pauseMs: random() < 0.5 ? 0 : random() * 3_000,
    choice: random(),
  };
}

/** Every kind once, as far as the count goes, and then by weight. */
function dealKinds(random: Random, kinds: readonly FaultKind[], count: number): FaultKind[] {
  if (kinds.length === 0) return [];
  const weighted = kinds.flatMap((kind) => Array<FaultKind>(weights[kind] ?? usualWeight).fill(kind));
  return Array.from({ length: count }, (_, index) => kinds[index] ?? pick(random, weighted));
}

function inOrder<T extends { atMs: number }>(items: T[]): T[] {
  return items.sort((one, other) => one.atMs - other.atMs);
}
