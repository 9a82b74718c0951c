// What a program says about itself: on its status page, and over its control socket.
import type { Credentials } from "../api/credentials.ts";
import type { BothClocks } from "../async/clock.ts";
import type { StopSignals } from "../run/run-context.ts";
import type { RunSummary } from "../run/run-history.ts";
import { summarize } from "../run/run-history.ts";
import type { RunRecord } from "../run/run-record.ts";
import { lictorVersion } from "../version.ts";
import type { Slots } from "../worker/slots.ts";
import type { Worker, WorkerOptions } from "../worker/worker.ts";
import type { FlowRunStatus, HostStatus, InFlightStatus, Status, WorkerStatus } from "./page/status.ts";

/** Where a status comes from. What is undefined does not exist yet. */
export interface StatusSources {
  /** On the monotonic clock. */
  readonly startedAt: number;
  readonly pid: number;
  readonly profileName: string;
  readonly stop: StopSignals;
  readonly slots: Slots;
  /** Of every worker that is or will be there. */
  readonly options: readonly WorkerOptions[];
  readonly workers: readonly Worker[];
  api?: { url: string; credentials: Credentials; maintenanceAt: () => number | undefined };
  eventPublisher?: { readonly isConnected: boolean };
}

const authentications = { bearer: "API key", basic: "auth string", none: "none" } as const;

/** The status at `now`. Nothing in it is a secret, except what somebody has put into a name. */
export function readStatus(sources: StatusSources, now: BothClocks): Status {
  const toWall = (at: number): number => Math.round(now.wallMs - (now.monotonicMs - at));
  return {
    host: readHost(sources, now, toWall),
    workers: sources.options.map((options) => {
      const worker = sources.workers.find((each) => each.options === options);
      return { ...readOptions(options), ...(worker ? readWorker(worker, toWall) : notYet) };
    }),
  };
}

function readHost(sources: StatusSources, now: BothClocks, toWall: (at: number) => number): HostStatus {
  const { api, stop, slots, workers, pid, profileName, startedAt, eventPublisher } = sources;
  return {
    phase: stop.kill.aborted
      ? "killing"
      : stop.drain.aborted
        ? "draining"
        : workers.length > 0
          ? "running"
          : "starting",
    now: now.wallMs,
    startedAt: toWall(startedAt),
    pid,
    version: lictorVersion,
    profile: profileName,
    api: api ? { host: new URL(api.url).host, authentication: authentications[api.credentials.current.kind] } : null,
    eventsIn: eventPublisher?.isConnected ?? false,
    slots: { used: slots.taken, limit: slots.limit },
  };
}

type OptionsStatus = Pick<WorkerStatus, "name" | "workPool" | "workQueues" | "querySeconds">;

function readOptions({ name, workPoolName, workQueueNames, querySeconds }: WorkerOptions): OptionsStatus {
  return { name, workPool: workPoolName, workQueues: [...workQueueNames], querySeconds };
}

const notYet: Omit<WorkerStatus, keyof OptionsStatus> = {
  type: null,
  connections: null,
  claimed: 0,
  endedByType: {},
  inFlight: [],
  ended: [],
  latencies: [],
};

function readWorker(worker: Worker, toWall: (at: number) => number): Omit<WorkerStatus, keyof OptionsStatus> {
  const { history, runs, sockets, pool, polling, poolType } = worker;
  runs.settle();
  return {
    type: poolType.name,
    connections: {
      hasWorkPool: pool.current !== undefined,
      lastPollAt: toWall(polling.answeredAt),
      workerChannel: sockets.channelHealthy,
      eventsOut: sockets.eventsConnected,
      eventLagMs: sockets.eventLagMs ?? null,
    },
    claimed: history.claimedCount,
    endedByType: Object.fromEntries(history.endedByType),
    inFlight: runs.list().map((run) => readInFlight(run, toWall)),
    ended: history.ended.map(readRun).sort(byEnd),
    latencies: history.latencies.running.map(({ flowRunName: name, at, ms }) => ({ name, at, ms })),
  };
}

function readInFlight(run: RunRecord, toWall: (at: number) => number): InFlightStatus {
  const { flowRun, phase, takenAt, handle } = run;
  const identifier = handle?.identifier ?? null;
  return { ...readRun(summarize(run)), id: flowRun.id, phase, since: toWall(takenAt), identifier };
}

function readRun({ name, flowName: flow, deploymentName: deployment, state, times }: RunSummary): FlowRunStatus {
  return {
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

/** Newest first: what was reported later may have ended earlier. */
function byEnd(one: FlowRunStatus, other: FlowRunStatus): number {
  return (other.endedAt ?? 0) - (one.endedAt ?? 0);
}
