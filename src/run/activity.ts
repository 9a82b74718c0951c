// What became of the flow runs of one worker, for those who look on. It is only told: nothing the worker does depends on it.
import type { FlowRun, State, StateType } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { isFinal } from "./states.ts";

/** How many ended flow runs are remembered, some 300 bytes each. */
const maxEnded = 50;
/** How many latencies of each kind are remembered. */
const maxLatencies = 200;
/** How long after a flow run has left the worker's hands an event may still tell how it ended. */
const settleMs = 15_000;

/** UNKNOWN where nobody has told how a flow run ended. */
export type OutcomeType = StateType | "UNKNOWN";

/** A claimed flow run. Times in ms since 1970: the server's clock, or this machine's where only that has told. */
export interface RunRecord {
  readonly id: string;
  readonly name: string;
  flowName: string | null;
  deploymentName: string | null;
  readonly createdAt: number | null;
  /** When it could be claimed at the earliest: its creation or its scheduled time, whichever is later. */
  readonly dueAt: number;
  readonly claimedAt: number;
  /** When it was Running for the first time since its claim. */
  runningAt: number | null;
  endedAt: number | null;
  state: { type: OutcomeType; name: string };
}

/** How long a flow run waited, from `dueAt` on, and when the wait was over (ms since 1970). */
export interface LatencySample {
  flowRunName: string;
  at: number;
  ms: number;
}

/** `claim`: due until Pending was accepted; `running`: due until Running. */
export type LatencyKind = "claim" | "running";

/** A state as the server, an event or the engine tells it; the engine says no time. */
export type ToldState = Pick<State, "type" | "name" | "timestamp">;

interface Entry {
  record: RunRecord;
  /** The time of the newest state told of, so that an older one that arrives later changes nothing. */
  toldAt: number;
  /** When it left the worker's hands. */
  leftAt: number | null;
  isCounted: boolean;
}

/** The record of one worker, of bounded size. `now` gives ms since 1970. */
export class Activity {
  /** Flow runs claimed so far. */
  claimedCount = 0;
  readonly latencies: Readonly<Record<LatencyKind, LatencySample[]>> = { claim: [], running: [] };
  /** Told of each latency as it becomes known. */
  onLatency: (kind: LatencyKind, ms: number) => void = () => {};
  readonly #ended: RunRecord[] = [];
  readonly #endedByType = new Map<OutcomeType, number>();
  /** Flow runs in the worker's hands, and those that have just left them. */
  readonly #entries = new Map<string, Entry>();

  constructor(private readonly now: () => number = wallClockMs) {}

  /** The claim was accepted: `pending` is the server's answer. */
  claim(flowRun: FlowRun, pending: ToldState): void {
    const claimedAt = timeOf(pending.timestamp) ?? this.now();
    const createdAt = timeOf(flowRun.created) ?? null;
    const scheduledAt = timeOf(flowRun.next_scheduled_start_time ?? flowRun.expected_start_time);
    const dueAt = Math.max(createdAt ?? 0, scheduledAt ?? 0) || claimedAt;
    const record: RunRecord = {
      id: flowRun.id,
      name: flowRun.name,
      flowName: null,
      deploymentName: null,
      createdAt,
      dueAt,
      claimedAt,
      runningAt: null,
      endedAt: null,
      state: { type: pending.type, name: pending.name },
    };
    this.#settle();
    const before = this.#entries.get(flowRun.id);
    if (before) this.#count(before);
    this.#entries.set(flowRun.id, { record, toldAt: claimedAt, leftAt: null, isCounted: false });
    this.claimedCount++;
    this.#sample("claim", record, claimedAt);
  }

  /** What has been read about a claimed flow run. */
  describe(flowRunId: string, names: Pick<RunRecord, "flowName" | "deploymentName">): void {
    const record = this.#entries.get(flowRunId)?.record;
    if (record) Object.assign(record, names);
  }

  /** Somebody tells of a state. Whatever is older than what is known, or about a flow run of somebody else, is ignored. */
  hear(flowRunId: string, state: ToldState | null): void {
    const entry = this.#entries.get(flowRunId);
    if (!entry || !state) return;
    const at = timeOf(state.timestamp);
    const { record } = entry;
    if (state.type === "RUNNING" && at !== undefined) this.#runs(record, at);
    if (at !== undefined && at < entry.toldAt) return;
    const isKnown = isFinalType(record.state.type);
    if (isKnown && !(isFinal(state) && at !== undefined)) return;
    // News of the past, or of a flow run that is in other hands by now.
    if (entry.leftAt !== null && isUnfinished(state.type)) return;
    record.state = { type: state.type, name: state.name };
    if (at !== undefined) entry.toldAt = at;
    if (isFinal(state) && at !== undefined) record.endedAt = at;
    if (isFinal(state) && entry.leftAt !== null) this.#count(entry);
  }

  /** The flow run has left the worker's hands; nothing happens if it was never claimed. */
  leave(flowRunId: string): void {
    this.#settle();
    const entry = this.#entries.get(flowRunId);
    if (!entry) return;
    const { record } = entry;
    entry.leftAt = this.now();
    record.endedAt ??= entry.leftAt;
    if (isUnfinished(record.state.type)) record.state = { type: "UNKNOWN", name: "unknown" };
    this.#ended.push(record);
    if (this.#ended.length > maxEnded) this.#ended.shift();
    if (isFinalType(record.state.type)) this.#count(entry);
  }

  /** What is known of a flow run in the worker's hands; undefined before its claim. */
  find(flowRunId: string): Readonly<RunRecord> | undefined {
    const entry = this.#entries.get(flowRunId);
    return entry?.leftAt === null ? entry.record : undefined;
  }

  /** The last flow runs that have left the worker's hands, oldest first. */
  get ended(): readonly Readonly<RunRecord>[] {
    return this.#ended;
  }

  /**
   * How many flow runs have left the worker's hands, by the state they were left in: SCHEDULED to run again, PAUSED to be
   * resumed, the others for good. One that nobody has told about yet is counted some seconds later: a count never falls.
   */
  get endedByType(): ReadonlyMap<OutcomeType, number> {
    this.#settle();
    return this.#endedByType;
  }

  /** It runs since `at`, if that is between its claim and its end: the news may come late, or of another attempt. */
  #runs(record: RunRecord, at: number): void {
    if (record.runningAt !== null || at < record.claimedAt || at > (record.endedAt ?? at)) return;
    record.runningAt = at;
    this.#sample("running", record, at);
  }

  #sample(kind: LatencyKind, { name, dueAt }: RunRecord, at: number): void {
    // Claimed ahead of its time by prefetch, it has not waited at all.
    const ms = Math.max(0, at - dueAt);
    const samples = this.latencies[kind];
    samples.push({ flowRunName: name, at, ms });
    if (samples.length > maxLatencies) samples.shift();
    this.onLatency(kind, ms);
  }

  /** Takes leave of those of which nothing more is to be heard. */
  #settle(): void {
    const before = this.now() - settleMs;
    for (const [id, entry] of this.#entries) {
      if (entry.leftAt === null || entry.leftAt > before) continue;
      this.#count(entry);
      this.#entries.delete(id);
    }
  }

  #count(entry: Entry): void {
    if (entry.isCounted) return;
    entry.isCounted = true;
    const { type } = entry.record.state;
    this.#endedByType.set(type, (this.#endedByType.get(type) ?? 0) + 1);
  }
}

/** The states in which no flow run is left on purpose: whoever was is not known to have ended. */
function isUnfinished(type: OutcomeType): boolean {
  return type === "PENDING" || type === "RUNNING" || type === "CANCELLING";
}

function isFinalType(type: OutcomeType): boolean {
  return type !== "UNKNOWN" && isFinal({ type });
}

function timeOf(text: string | null | undefined): number | undefined {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? undefined : at;
}
