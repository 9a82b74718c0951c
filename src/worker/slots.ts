// The concurrency limit: how many flow runs the workers of one program execute at a time, taken together.

/** At most `limit` slots at a time; null means no limit. */
export class Slots {
  #taken = 0;

  constructor(readonly limit: number | null) {}

  /** How many slots are taken now. */
  get taken(): number {
    return this.#taken;
  }

  /** Whether all slots are taken. */
  get isFull(): boolean {
    return this.limit !== null && this.#taken >= this.limit;
  }

  /** Returns a slot, or undefined when all are taken. Disposing the slot frees it, and may happen twice. Never waits. */
  tryAcquire(): Disposable | undefined {
    return this.isFull ? undefined : this.acquireBeyondLimit();
  }

  /**
   * Returns a slot even if all are taken, for a flow run that runs already. No other slot is free until enough of them are
   * freed.
   */
  acquireBeyondLimit(): Disposable {
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
