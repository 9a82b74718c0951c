// An AbortController that follows other signals for the duration of one call.
import { setMaxListeners } from "node:events";

/**
 * Its signal aborts when one of `sources` aborts, with the same reason, or when `abort` is called. Disposing removes its
 * listeners from the sources. A lint rule forbids AbortSignal.any, which does the same without an end: Node.js 20 keeps a
 * reference to each result as long as a source lives. Node.js 20 also collects a timeout to which only AbortSignal.any
 * refers, so the timeout never fires.
 */
export class LinkedController extends AbortController implements Disposable {
  readonly #links: (() => void)[] = [];

  constructor(...sources: readonly AbortSignal[]) {
    super();
    for (const source of sources) {
      if (source.aborted) this.abort(source.reason);
      if (this.signal.aborted) return;
      const follow = (): void => this.abort(source.reason);
      // Many calls may follow one signal at a time, and Node.js warns of more than ten listeners.
      setMaxListeners(0, source);
      source.addEventListener("abort", follow);
      this.#links.push(() => source.removeEventListener("abort", follow));
    }
  }

  override abort(reason?: unknown): void {
    this[Symbol.dispose]();
    super.abort(reason);
  }

  [Symbol.dispose](): void {
    for (const unlink of this.#links.splice(0)) unlink();
  }
}
