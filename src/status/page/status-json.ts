// The body of GET /status.json. Times are in milliseconds since 1970.

/** A flow run, in flight or ended. A field is null if it is not known. */
export interface FlowRunStatus {
  id: string;
  name: string;
  flow: string | null;
  deployment: string | null;
  /** The type is UNKNOWN if the worker does not know how the flow run ended. */
  state: { type: string; name: string };
  createdAt: number | null;
  /** The earliest time at which it could be claimed: its creation or its scheduled time. */
  dueAt: number | null;
  claimedAt: number | null;
  runningAt: number | null;
  endedAt: number | null;
}

/** A flow run in flight. `since` is when the worker took it. */
export interface InFlightStatus extends FlowRunStatus {
  phase: string;
  since: number;
  /** The infrastructure pid, such as a process id. */
  identifier: string | null;
}

/** How long a flow run took from its due time until Running. `at` is when it was Running. */
export interface LatencyStatus {
  name: string;
  at: number;
  ms: number;
}

/** The connections of a worker to the server. */
export interface ConnectionStatus {
  /** True if the work pool has been read. Without it there are no polls. */
  hasWorkPool: boolean;
  /** When the last poll succeeded, or when the last poll was skipped because there is no work pool. */
  lastPollAt: number;
  /** When the outage of the API began. Null if there is none. */
  outageSince: number | null;
  workerChannel: boolean;
  eventsOut: boolean;
  eventLagMs: number | null;
}

/** The worker of one work pool. */
export interface WorkerStatus {
  name: string;
  workPool: string;
  workQueues: string[];
  querySeconds: number;
  /** Null until the worker exists. */
  type: string | null;
  connections: ConnectionStatus | null;
  claimed: number;
  /** The number of ended flow runs by state type. */
  endedByType: Record<string, number>;
  inFlight: InFlightStatus[];
  /** The latest flow runs that ended, newest first. */
  ended: FlowRunStatus[];
  /** The latest latencies, oldest first. */
  latencies: LatencyStatus[];
}

/** The part of the status that all workers of the program share. */
export interface HostStatus {
  /** The phase is "outage" while the API is away for a worker. */
  phase: "starting" | "running" | "outage" | "draining" | "killing";
  /** The current time of the program's clock, for computing ages. */
  now: number;
  startedAt: number;
  pid: number;
  version: string;
  profile: string;
  /** Null until the API is known. */
  api: { host: string; authentication: "API key" | "auth string" | "none" } | null;
  /** True if the socket for sending events is open. */
  eventsIn: boolean;
  /** Why flow runs could not be continued if this program were killed, for example "ENOSPC". Null if they could. */
  journalProblem: string | null;
  /** Why flow runs cannot be started on this machine now, in one or two sentences. Null if nothing is known to be wrong. */
  machineProblem: string | null;
  slots: { used: number; limit: number | null };
  /** The streams of changes of the infrastructure, such as those of the Jobs in a namespace. */
  watches: WatchStatus[];
}

/** A stream of changes. `lastAt` is its last sign of life; null before the first one. `problem` is null if it works. */
export interface WatchStatus {
  name: string;
  lastAt: number | null;
  problem: string | null;
}

/** The body of GET /logs.json?flow_run=ID: the latest log records of a flow run, oldest first. */
export interface LogTail {
  records: { at: number; level: string; message: string }[];
}

/** The status of one program at one moment. */
export interface Status {
  host: HostStatus;
  workers: WorkerStatus[];
}
