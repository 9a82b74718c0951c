// What a worker says about itself to whoever opens its status page.
import type { Credentials } from "../api/credentials.ts";
import type { BothClocks } from "../async/clock.ts";
import type { FlowRunStatus, Status } from "../page/status.ts";
import type { RunRecord } from "../run/activity.ts";
import { lictorVersion } from "../version.ts";
import type { InFlightRun } from "./in-flight.ts";
import type { Worker, WorkerOptions } from "./worker.ts";

/** Where a status comes from; what is undefined does not exist yet. */
export interface StatusSources {
  readonly startedAt: number;
  readonly options: WorkerOptions;
  readonly profileName: string;
  readonly stop: AbortSignal;
  api?: { url: string; credentials: Credentials; maintenanceAt: () => number | undefined };
  worker?: Worker;
  eventPublisher?: { readonly isConnected: boolean };
}

const authentications = { bearer: "API key", basic: "auth string", none: "none" } as const;

/** The status at `now`. Times on the monotonic clock become times of the wall clock. Nothing of it is a secret but what somebody has put into a name. */
export function readStatus(sources: StatusSources, now: BothClocks): Status {
  const { options, worker, api, stop } = sources;
  const { activity } = worker ?? {};
  const toWall = (at: number): number => Math.round(now.wallMs - (now.monotonicMs - at));
  return {
    phase: stop.aborted ? "stopping" : worker ? "running" : "starting",
    now: now.wallMs,
    startedAt: toWall(sources.startedAt),
    version: lictorVersion,
    worker: options.name,
    workPool: options.workPoolName,
    type: worker?.poolType.name ?? null,
    workQueues: [...options.workQueueNames],
    querySeconds: options.querySeconds,
    profile: sources.profileName,
    api: api ? { host: new URL(api.url).host, authentication: authentications[api.credentials.current.kind] } : null,
    connections: worker
      ? {
          hasWorkPool: worker.pool !== undefined,
          lastPollAt: toWall(worker.lastPollAt),
          workerChannel: worker.channelHealthy,
          eventsOut: worker.eventsConnected,
          eventsIn: sources.eventPublisher?.isConnected ?? false,
          eventLagMs: worker.eventLagMs ?? null,
        }
      : null,
    slots: { used: worker?.slots.taken ?? 0, limit: options.limit },
    claimed: activity?.claimedCount ?? 0,
    endedByType: Object.fromEntries(activity?.endedByType ?? []),
    inFlight: worker?.inFlight.list().map((run) => toInFlight(run, worker, toWall)) ?? [],
    ended: activity?.ended.map(toFlowRun).sort(byEnd) ?? [],
    latencies: activity?.latencies.running.map(({ flowRunName: name, at, ms }) => ({ name, at, ms })) ?? [],
  };
}

function toFlowRun(record: Readonly<RunRecord>): FlowRunStatus {
  const { name, flowName: flow, deploymentName: deployment, state } = record;
  const { createdAt, dueAt, claimedAt, runningAt, endedAt } = record;
  return { name, flow, deployment, state, createdAt, dueAt, claimedAt, runningAt, endedAt };
}

/** Newest first: what was reported later may have ended earlier. */
function byEnd(one: FlowRunStatus, other: FlowRunStatus): number {
  return (other.endedAt ?? 0) - (one.endedAt ?? 0);
}

/** Before its claim a flow run is known by what the poll has brought. */
function toInFlight(
  { flowRun, since }: InFlightRun,
  { activity }: Worker,
  toWall: (at: number) => number,
): Status["inFlight"][number] {
  const record = activity.find(flowRun.id);
  const known = record
    ? toFlowRun(record)
    : {
        name: flowRun.name,
        flow: null,
        deployment: null,
        state: { type: flowRun.state_type ?? "SCHEDULED", name: flowRun.state_name ?? "Scheduled" },
        createdAt: null,
        dueAt: null,
        claimedAt: null,
        runningAt: null,
        endedAt: null,
      };
  return { ...known, since: toWall(since) };
}
