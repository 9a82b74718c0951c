// The concurrency limit: how many flow runs all workers of one program execute at a time.

/** At most `limit` slots at a time; null means no limit. */
export class Slots {
  #taken = 0;

  constructor(readonly limit: number | null) {}

  /** How many are taken now. */
  get taken(): number {
    return this.#taken;
  }

  /** Whether all slots are taken. */
  get isFull(): boolean {
    return this.limit !== null && this.#taken >= this.limit;
  }

  /** A slot, freed by disposing it, or undefined when all are taken. Never waits. */
  tryAcquire(): Disposable | undefined {
    if (this.isFull) return undefined;
    this.#taken++;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#taken--;
        isHeld = false;
      },
    };
  }
}
