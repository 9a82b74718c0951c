// The gate to a server that is restarted now and then: clients that must not notice pass it only while the server is up.
import { setTimeout as delay } from "node:timers/promises";

/** A request takes this long at most on a busy server; a longer one meets the restart. */
const inFlightMs = 5_000;

/** Open for many, or closed for one. */
export class Gate {
  #inFlight = 0;
  #opened: Promise<void> | null = null;

  /** Does the work when the gate is open. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    while (this.#opened !== null) await this.#opened;
    this.#inFlight++;
    try {
      return await work();
    } finally {
      this.#inFlight--;
    }
  }

  /** Closes the gate, waits until those inside have left, does the work, and opens. */
  async closedFor(work: () => Promise<void>): Promise<void> {
    while (this.#opened !== null) await this.#opened;
    let open = (): void => {};
    this.#opened = new Promise((resolve) => {
      open = resolve;
    });
    try {
      for (const endMs = performance.now() + inFlightMs; this.#inFlight > 0 && performance.now() < endMs; ) {
        await delay(20);
      }
      await work();
    } finally {
      this.#opened = null;
      open();
    }
  }
}
