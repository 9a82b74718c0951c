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
  since: number;
}

/** How long a flow run took from when it was due until Running. */
export interface LatencyStatus {
  name: string;
  at: number;
  ms: number;
}

/** Whether the sockets are open, and how far off the server is. */
export interface ConnectionStatus {
  /** Whether the server could be asked for the work pool: before, there is nothing to poll for. */
  hasWorkPool: boolean;
  /** The last answered poll, or the last turn without one for want of a work pool. */
  lastPollAt: number;
  workerChannel: boolean;
  eventsOut: boolean;
  eventsIn: boolean;
  eventLagMs: number | null;
}

/** One worker at one moment. */
export interface Status {
  phase: "starting" | "running" | "stopping";
  /** The worker's clock, which all ages are counted by. */
  now: number;
  startedAt: number;
  version: string;
  worker: string;
  workPool: string;
  type: string | null;
  workQueues: string[];
  querySeconds: number;
  profile: string;
  /** Null until it is known which API it is. */
  api: { host: string; authentication: "API key" | "auth string" | "none" } | null;
  /** Null until the worker exists. */
  connections: ConnectionStatus | null;
  slots: { used: number; limit: number | null };
  claimed: number;
  /** How many have ended, by state type. */
  endedByType: Record<string, number>;
  inFlight: InFlightStatus[];
  /** The last ones, newest first. */
  ended: FlowRunStatus[];
  /** The last ones, oldest first. */
  latencies: LatencyStatus[];
}
