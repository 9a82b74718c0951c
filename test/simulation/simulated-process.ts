// What the processes of all flow runs have in common: who they are, and that somebody waits for their end.
import type { Ending } from "../../src/infrastructure/execution.ts";
import type { EngineParts, FlowPlan, Truth } from "./engine.ts";
import { createOwner, type Owner } from "./virtual-clock.ts";

/** How a process ended. */
export type Exit = Ending & { kind: "exited" };

/** One process on a machine. */
export abstract class SimulatedProcess {
  /** Its requests and pauses. A killed process has a dead owner. */
  readonly owner: Owner;
  ending: Exit | null = null;
  readonly #watchers = new Set<() => void>();

  constructor(
    protected readonly parts: EngineParts,
    readonly pid: number,
    readonly flowRunId: string,
    readonly plan: FlowPlan,
    readonly truth: Truth,
    /** What the trace calls it. */
    what: string,
  ) {
    this.owner = createOwner(`${what} ${pid}`, { isEngine: true });
  }

  get isAlive(): boolean {
    return this.ending === null;
  }

  /** Calls `callback` at the end of the process, as `owner`. */
  onEnd(owner: Owner, callback: () => void): void {
    const notify = (): void => void this.parts.clock.after(1, owner, callback);
    if (this.ending) notify();
    else this.#watchers.add(notify);
  }

  /** Ends the process, and tells those who wait. */
  protected finish(ending: Exit): void {
    this.owner.alive = false;
    this.ending = ending;
    this.parts.trace(() => `${this.owner.name} exits with ${ending.status}`);
    for (const notify of this.#watchers) notify();
  }
}
