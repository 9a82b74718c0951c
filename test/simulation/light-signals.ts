// Abort signals for the processes of `npm run simulate`. They do what those of Node.js do, and cost far less. A seed has
// thousands. `light-signals.test.ts` compares both.

/** No listener looks at the event. */
type Listener = () => void;

/** What the simulation needs of an AbortSignal. */
export class LightSignal {
  aborted = false;
  #reason: unknown = undefined;
  readonly #listeners: { readonly call: Listener; readonly once: boolean }[] = [];

  /** Errors are expensive, and few callers look at the usual reason. So it is made when it is read. */
  get reason(): unknown {
    if (this.aborted) this.#reason ??= new DOMException("This operation was aborted", "AbortError");
    return this.#reason;
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  addEventListener(type: string, call: Listener, options: { once?: boolean } = {}): void {
    if (type !== "abort") throw new Error(`A signal has no event ${type}`);
    if (this.#indexOf(call) === -1) this.#listeners.push({ call, once: options.once === true });
  }

  removeEventListener(_type: string, call: Listener): void {
    const index = this.#indexOf(call);
    if (index !== -1) this.#listeners.splice(index, 1);
  }

  /** Returns the listeners, for `getEventListeners` of Node.js. */
  listeners(): Listener[] {
    return this.#listeners.map(({ call }) => call);
  }

  /** Nothing warns of many listeners. */
  setMaxListeners(): void {}

  /** Removes all listeners. */
  clear(): void {
    this.#listeners.length = 0;
  }

  /** Aborts. Listeners that are added meanwhile are not called, nor are those that are removed before their turn. */
  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.#reason = reason;
    for (const listener of [...this.#listeners]) {
      if (!this.#listeners.includes(listener)) continue;
      if (listener.once) this.removeEventListener("abort", listener.call);
      try {
        listener.call();
      } catch (error) {
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }

  #indexOf(call: Listener): number {
    // The newest one is often the first to go.
    return this.#listeners.findLastIndex((each) => each.call === call);
  }
}

/** What the simulation needs of an AbortController. */
export class LightController {
  readonly signal = new LightSignal();

  abort(reason?: unknown): void {
    this.signal.abort(reason);
  }
}

/** Replaces the global AbortController. Code that is loaded later uses light signals. */
export function useLightSignals(): void {
  globalThis.AbortController = LightController as unknown as typeof AbortController;
}

/** Removes what the dead processes of a seed left on a signal that lives as long as the program. */
export function forgetListeners(signal: unknown): void {
  if (signal instanceof LightSignal) signal.clear();
}
