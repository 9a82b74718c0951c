// A stack of things to dispose of.

/** Disposes in reverse order. Node.js 20 has no AsyncDisposableStack. */
export class AsyncDisposables implements AsyncDisposable {
  #dispose: (() => Promise<void>)[] = [];

  /** Adds what is disposed of before all that was added earlier. */
  add(dispose: () => Promise<void>): void {
    this.#dispose.unshift(dispose);
  }

  /** Moves all into the returned object, which disposes of them from now on. */
  move(): AsyncDisposable {
    const moved = new AsyncDisposables();
    moved.#dispose = this.#dispose;
    this.#dispose = [];
    return { [Symbol.asyncDispose]: async () => await moved[Symbol.asyncDispose]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const dispose of this.#dispose) await dispose();
  }
}
