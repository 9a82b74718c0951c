// A moment that others wait for.
import { waitAtMost } from "./sleep.ts";

/** Closed until `open` is called, and then open for ever. */
export class Gate {
  #open: () => void = () => undefined;
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  open(): void {
    this.#open();
  }

  /** Waits until the gate is open, at most `ms` milliseconds, or until `signal` aborts. */
  async passed(ms: number, signal: AbortSignal): Promise<void> {
    await waitAtMost(this.#opened, ms, signal);
  }
}
