// Reads the status of the program for the status page and the control socket.
import type { Credentials } from "../api/credentials.ts";
import type { BothClocks } from "../async/clock.ts";
import type { InfrastructureWatch } from "../infrastructure/pool-type.ts";
import type { StopSignals } from "../run/run-context.ts";
import type { RunSummary } from "../run/run-history.ts";
import { summarize } from "../run/run-history.ts";
import type { RunRecord } from "../run/run-record.ts";
import { lictorVersion } from "../version.ts";
import type { Slots } from "../worker/slots.ts";
import type { Worker, WorkerOptions } from "../worker/worker.ts";
import type { FlowRunStatus, HostStatus, InFlightStatus, Status, WorkerStatus } from "./page/status-json.ts";

/** The sources of the status. An undefined field does not exist yet. */
export interface StatusSources {
  /** On the monotonic clock. */
  readonly startedAt: number;
  readonly pid: number;
  readonly profileName: string;
  readonly stop: StopSignals;
  readonly slots: Slots;
  readonly machine: { readonly problem: string | null };
  /** The options of all workers, including those that do not exist yet. */
  readonly options: readonly WorkerOptions[];
  readonly workers: readonly Worker[];
  api?: { url: string; credentials: Credentials; maintenanceAt: () => number | undefined };
  eventPublisher?: { readonly isConnected: boolean };
  journal?: { readonly problem: string | null };
}

const authenticationNames = { bearer: "API key", basic: "auth string", none: "none" } as const;

/** Returns the status at `now`. It holds no secrets, except those in names that users chose. */
export function readStatus(sources: StatusSources, now: BothClocks): Status {
  const toWallClock = (at: number): number => Math.round(now.wallMs - (now.monotonicMs - at));
  return {
    host: readHost(sources, now, toWallClock),
    workers: sources.options.map((options) => {
      const worker = sources.workers.find((each) => each.options === options);
      return { ...readOptions(options), ...(worker ? readWorker(worker, toWallClock) : noWorkerYet) };
    }),
  };
}

function readHost(sources: StatusSources, now: BothClocks, toWallClock: (at: number) => number): HostStatus {
  const { api, stop, slots, machine, workers, pid, profileName, startedAt, eventPublisher, journal } = sources;
  return {
    phase: stop.kill.aborted
      ? "killing"
      : stop.drain.aborted
        ? "draining"
        : workers.length === 0
          ? "starting"
          : workers.some(({ outage }) => outage.since !== undefined)
            ? "outage"
            : "running",
    now: now.wallMs,
    startedAt: toWallClock(startedAt),
    pid,
    version: lictorVersion,
    profile: profileName,
    api: api
      ? { host: new URL(api.url).host, authentication: authenticationNames[api.credentials.current.kind] }
      : null,
    eventsIn: eventPublisher?.isConnected ?? false,
    journalProblem: journal?.problem ?? null,
    machineProblem: machine.problem,
    slots: { used: slots.taken, limit: slots.limit },
    watches: readWatches(workers).map(({ name, ageMs, problem }) => {
      return { name, lastAt: ageMs === null ? null : Math.round(now.wallMs - ageMs), problem };
    }),
  };
}

/** Returns the streams of changes of all infrastructure. Workers of the same type share it. */
export function readWatches(workers: readonly Pick<Worker, "infrastructure">[]): InfrastructureWatch[] {
  const all = new Set(workers.map(({ infrastructure }) => infrastructure));
  return [...all].flatMap((infrastructure) => infrastructure.watches?.() ?? []);
}

type OptionsStatus = Pick<WorkerStatus, "name" | "workPool" | "workQueues" | "querySeconds">;

function readOptions({ name, workPoolName, workQueueNames, querySeconds }: WorkerOptions): OptionsStatus {
  return { name, workPool: workPoolName, workQueues: [...workQueueNames], querySeconds };
}

const noWorkerYet: Omit<WorkerStatus, keyof OptionsStatus> = {
  type: null,
  connections: null,
  claimed: 0,
  endedByType: {},
  inFlight: [],
  ended: [],
  latencies: [],
};

function readWorker(worker: Worker, toWallClock: (at: number) => number): Omit<WorkerStatus, keyof OptionsStatus> {
  const { history, runs, sockets, pool, polling, poolType, outage } = worker;
  runs.settle();
  return {
    type: poolType.name,
    connections: {
      hasWorkPool: pool.current !== undefined,
      lastPollAt: toWallClock(polling.answeredAt),
      outageSince: outage.since === undefined ? null : toWallClock(outage.since),
      workerChannel: sockets.channelHealthy,
      eventsOut: sockets.eventsConnected,
      eventLagMs: sockets.eventLagMs ?? null,
    },
    claimed: history.claimedCount,
    endedByType: Object.fromEntries(history.endedByType),
    inFlight: runs.list().map((run) => readInFlight(run, toWallClock)),
    ended: history.ended.map(readRun).sort(byEnd),
    latencies: history.latencies.running.map(({ flowRunName: name, at, ms }) => ({ name, at, ms })),
  };
}

function readInFlight(run: RunRecord, toWallClock: (at: number) => number): InFlightStatus {
  const { phase, takenAt, handle } = run;
  // It is empty before the start.
  const identifier = handle?.identifier || null;
  return { ...readRun(summarize(run)), phase, since: toWallClock(takenAt), identifier };
}

function readRun({ id, name, flowName: flow, deploymentName: deployment, state, times }: RunSummary): FlowRunStatus {
  return {
    id,
    name,
    flow,
    deployment,
    state: { type: state.type, name: state.name },
    createdAt: times.created,
    dueAt: times.due,
    claimedAt: times.claimed,
    runningAt: times.running,
    endedAt: times.ended,
  };
}

/** Sorts by the time of the end, newest first, because ends may be reported in another order. */
function byEnd(one: FlowRunStatus, other: FlowRunStatus): number {
  return (other.endedAt ?? 0) - (one.endedAt ?? 0);
}
