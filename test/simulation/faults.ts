// The faults of one seed: which kinds happen, and how often. Each seed has only some kinds, because faults of one kind
// would otherwise hide what others cause.
import { pick, type Random } from "../support/random.ts";

/** The kinds of faults of all seeds. */
export const faultKinds = [
  "request lost",
  "response lost",
  "late request",
  "doubled request",
  "slow request",
  "503",
  "500",
  "event dropped",
  "event replayed",
  "socket closed",
  "socket deaf",
  "start failed",
  "machine short",
  "hooks slow",
  "process killed",
  "worker killed",
  "container killed",
  "machine lost",
  "power lost",
] as const;

/** The kinds of faults of a container engine and of the connections to it. */
export const containerFaultKinds = [
  "engine request lost",
  "engine response lost",
  "engine event lost",
  "engine slow",
  "container removed",
  "start forgotten",
] as const;

/** The kinds of faults of a cluster and of the connections to its API server. */
export const clusterFaultKinds = [
  "api request lost",
  "api response lost",
  "api slow",
  "api busy",
  "api failed",
  "versions forgotten",
  "watch cut",
  "watch silent",
  "watch behind",
  "controller slow",
  "image slow",
] as const;

/** One kind of fault. */
export type FaultKind =
  | (typeof faultKinds)[number]
  | (typeof containerFaultKinds)[number]
  | (typeof clusterFaultKinds)[number];

/** Kinds that end a lictor process, and perhaps more with it. */
export const deaths = ["worker killed", "container killed", "machine lost", "power lost"] as const;

/** How often a kind of fault happens where it can happen. */
const rates = [0.02, 0.1, 0.3];

/** Decides for one seed where faults happen. */
export class Faults {
  /** Faults happen only while this is true. */
  active = true;
  /** How many faults have happened, by kind. */
  readonly counts = new Map<FaultKind, number>();
  readonly #rates = new Map<FaultKind, number>();

  constructor(
    private readonly random: Random,
    private readonly onFault: (kind: FaultKind) => void,
    { hasContainers, hasCluster }: { readonly hasContainers: boolean; readonly hasCluster: boolean },
  ) {
    const share = pick(random, [0, 0.2, 0.5]);
    const others = hasContainers ? containerFaultKinds : hasCluster ? clusterFaultKinds : [];
    const kinds = [...faultKinds, ...others];
    for (const kind of kinds) if (random() < share) this.#rates.set(kind, pick(random, rates));
    // These can happen at every step of a worker, so they are rarer.
    for (const kind of deaths) {
      const rate = this.#rates.get(kind);
      if (rate !== undefined) this.#rates.set(kind, rate / 10);
    }
  }

  /** Returns whether a fault of this kind happens here. */
  happens(kind: FaultKind): boolean {
    const rate = this.#rates.get(kind);
    if (rate === undefined || !this.active || this.random() >= rate) return false;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.onFault(kind);
    return true;
  }

  /** Returns the kinds that can happen with this seed. */
  kinds(): FaultKind[] {
    return [...this.#rates.keys()];
  }
}
