// The concurrency limit of a worker.

/** At most `limit` slots at a time; null means no limit. */
export class Slots {
  #taken = 0;

  constructor(private readonly limit: number | null) {}

  /** How many are taken now. */
  get taken(): number {
    return this.#taken;
  }

  /** A slot, freed by disposing it, or undefined when all are taken. Never waits. */
  tryAcquire(): Disposable | undefined {
    if (this.limit !== null && this.#taken >= this.limit) return undefined;
    this.#taken++;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#taken--;
        held = false;
      },
    };
  }
}
