// Which of a work pool's workers takes which flow run first. An event reaches all workers at the same moment. Without an
// order each of them would poll and claim, and all but one in vain.
//
// Each worker ranks the pool's online workers for each flow run by rendezvous hashing: the one with the highest hash of
// flow run and worker is first. All workers that know the same names agree on the ranks without a word between them, each
// is first for an equal share, and a worker that leaves changes only the ranks behind its own. The first takes a flow run
// at once. The others wait for some time per rank: if the first has no free slot, is gone, or is not a lictor worker, the
// next one follows. The order is for speed only. Where two workers know different names, both claim, and the server
// gives the flow run to one.
import type { WorkerRecord } from "../api/wire.ts";

/** Longer than a claim takes and its event needs to arrive, on a server that is not overloaded. */
export const delayPerRankMs = 250;
/** On an overloaded one the delay per rank grows up to this. */
const longestDelayPerRankMs = 1_000;
/** A flow run whose first eight choices are all full is claimed by any worker. */
export const longestDelayMs = 2_000;
/** Claims that take twice as long as usual still come before the next worker's turn. */
const safety = 2;
/** A slow claim may be that of a second choice, a quick one shows what the server can do: falls count more than rises. */
const weights = { rise: 0.1, fall: 0.5 };

/** The order as one worker sees it. Until it knows others it is the first for every flow run. */
export class ClaimOrder {
  readonly #own: number;
  #others: readonly number[] = [];
  /** How long other workers usually take from the event of a flow run to that of its claim. */
  #usualClaimMs = 0;

  constructor(private readonly name: string) {
    this.#own = hashText(name);
  }

  /** Takes the workers of the pool as the server lists them. The worker itself counts whether it is listed or not. */
  update(workers: readonly WorkerRecord[]): void {
    const isOther = ({ name, status }: WorkerRecord): boolean => name !== this.name && status !== "OFFLINE";
    this.#others = workers.filter(isOther).map(({ name }) => hashText(name));
  }

  /** How many other workers come before this one for the flow run. */
  rank(flowRunId: string): number {
    const flowRun = hashText(flowRunId);
    const own = mix(flowRun ^ this.#own);
    return this.#others.filter((other) => mix(flowRun ^ other) > own).length;
  }

  /** How long this worker leaves the flow run to others, in milliseconds. */
  delayMs(flowRunId: string): number {
    if (this.#others.length === 0) return 0;
    const perRankMs = Math.min(Math.max(delayPerRankMs, this.#usualClaimMs * safety), longestDelayPerRankMs);
    return Math.min(this.rank(flowRunId) * perRankMs, longestDelayMs);
  }

  /** Another worker's claim was heard of `ms` milliseconds after the flow run. */
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

/** The last step of MurmurHash3: without it names that differ in their last letters would have similar hashes. */
function mix(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
