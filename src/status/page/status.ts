// What the status page is told: the body of GET /status.json. Times in ms since 1970.

/** A flow run, in flight or ended; null is what is not known. */
export interface FlowRunStatus {
  name: string;
  flow: string | null;
  deployment: string | null;
  /** UNKNOWN where nobody has told how it ended. */
  state: { type: string; name: string };
  createdAt: number | null;
  /** When it could be claimed at the earliest: its creation or its scheduled time. */
  dueAt: number | null;
  claimedAt: number | null;
  runningAt: number | null;
  endedAt: number | null;
}

/** A flow run in flight, in the worker's hands since `since`. */
export interface InFlightStatus extends FlowRunStatus {
  id: string;
  phase: string;
  since: number;
  /** What was started for it, such as a process id. */
  identifier: string | null;
}

/** How long a flow run took from when it was due until Running. */
export interface LatencyStatus {
  name: string;
  at: number;
  ms: number;
}

/** Whether the sockets of a worker are open, and how far off the server is. */
export interface ConnectionStatus {
  /** Whether the server could be asked for the work pool: before, there is nothing to poll for. */
  hasWorkPool: boolean;
  /** The last answered poll, or the last turn without one because there is no work pool. */
  lastPollAt: number;
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
  /** How many have ended, by state type. */
  endedByType: Record<string, number>;
  inFlight: InFlightStatus[];
  /** The last ones, newest first. */
  ended: FlowRunStatus[];
  /** The last ones, oldest first. */
  latencies: LatencyStatus[];
}

/** What the workers of one program share. */
export interface HostStatus {
  phase: "starting" | "running" | "draining" | "killing";
  /** The program's clock, which all ages are counted by. */
  now: number;
  startedAt: number;
  pid: number;
  version: string;
  profile: string;
  /** Null until it is known which API it is. */
  api: { host: string; authentication: "API key" | "auth string" | "none" } | null;
  /** Whether the socket for events to the server is open. */
  eventsIn: boolean;
  slots: { used: number; limit: number | null };
}

/** One program at one moment. */
export interface Status {
  host: HostStatus;
  workers: WorkerStatus[];
}
