// Decides which of a work pool's workers claims a flow run first. An event reaches all workers at the same moment. Without
// an order, every worker would poll and claim, and only one claim would succeed.
//
// Each worker ranks the pool's online workers for each flow run by rendezvous hashing. The worker with the highest hash of
// flow run and worker is first. Workers that know the same names compute the same ranks without sending anything. Each
// worker is first for an equal share of flow runs. A worker that stops changes only the ranks behind its own.
//
// The first worker claims at once. The others wait for some time per rank. The next worker follows if the first one has no
// free slot, is gone, or is not a lictor worker. The order only saves requests. If two workers know different names, both
// claim, and the server accepts one claim.
import type { WorkerRecord } from "../api/wire.ts";

/** Longer than a claim and its event take on a server that is not overloaded. */
export const delayPerRankMs = 250;
/** The delay per rank grows up to this on an overloaded server. */
const longestDelayPerRankMs = 1_000;
/** A flow run whose first eight choices are all full is claimed by any worker. */
export const longestDelayMs = 2_000;
/** A claim may take twice as long as usual before the next worker's turn begins. */
const safetyFactor = 2;
/** Falls count more than rises. A slow claim may come from a later rank; a quick one shows the server's real speed. */
const weights = { rise: 0.1, fall: 0.5 };

/** The order as one worker sees it. A worker that knows no others is the first for every flow run. */
export class ClaimOrder {
  readonly #own: number;
  #others: readonly number[] = [];
  /** The usual time from the event of a flow run to the event of another worker's claim. */
  #usualClaimMs = 0;
  #isUsed = false;

  constructor(private readonly name: string) {
    this.#own = hashText(name);
  }

  /** Replaces the list of the pool's workers. This worker counts whether it is listed or not. */
  update(workers: readonly WorkerRecord[]): void {
    const isOther = ({ name, status }: WorkerRecord): boolean => name !== this.name && status !== "OFFLINE";
    this.#others = workers.filter(isOther).map(({ name }) => hashText(name));
    this.#isUsed = false;
  }

  /** Whether a delay was computed after the last update. While no flow run comes, the list needs no update. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  /** Returns how many other workers come before this one for the flow run. */
  rank(flowRunId: string): number {
    const flowRun = hashText(flowRunId);
    const own = mix(flowRun ^ this.#own);
    return this.#others.filter((other) => mix(flowRun ^ other) > own).length;
  }

  /** Returns how long this worker leaves the flow run to others, in milliseconds. */
  delayMs(flowRunId: string): number {
    this.#isUsed = true;
    if (this.#others.length === 0) return 0;
    const perRankMs = Math.min(Math.max(delayPerRankMs, this.#usualClaimMs * safetyFactor), longestDelayPerRankMs);
    return Math.min(this.rank(flowRunId) * perRankMs, longestDelayMs);
  }

  /** Learns from another worker's claim, whose event arrived `ms` milliseconds after the event of the flow run. */
  observe(ms: number): void {
    const weight = ms > this.#usualClaimMs ? weights.rise : weights.fall;
    this.#usualClaimMs += (Math.min(ms, longestDelayMs) - this.#usualClaimMs) * weight;
  }
}

/** FNV-1a of the UTF-16 units, 32 bits. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

/** The last step of MurmurHash3. Without it, names that differ in their last letters would have similar hashes. */
function mix(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
