// Reads of deployments, flows, blocks and variables that the flow runs of one poll share.
import { monotonicMs } from "../async/clock.ts";
import { waitUnlessAborted } from "../async/sleep.ts";

/** How long an answer is used. The flow runs of a large poll are claimed one after the other. */
const usedForMs = 5_000;

/** Who reads. `knownSince` is when the worker got the flow run from the server, on the monotonic clock. */
export interface Reader {
  readonly knownSince: number;
  /** Its abort ends the wait with the signal's reason, and the read if nobody else waits. */
  readonly signal: AbortSignal;
  /** Which failures the read repeats. A read under way is shared only by those that repeat the same ones. */
  readonly repeats?: unknown;
}

interface SharedRead {
  readonly startedAt: number;
  readonly repeats: unknown;
  readonly answer: Promise<unknown>;
  readonly over: AbortController;
  readers: number;
  hasArrived: boolean;
}

/**
 * A flow run uses the answer of another one's read only if that read began after the flow run was known. So it sees each
 * change that was made before it was created.
 */
export class SharedReads {
  readonly #reads = new Map<string, SharedRead>();

  /** Returns the answer to a read with this key. Throws what `read` throws, and the reason of the reader's signal. */
  async read<T>(key: string, reader: Reader, read: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = reader;
    const shared = this.#find(key, reader) ?? this.#start(key, reader, read);
    shared.readers += 1;
    try {
      await waitUnlessAborted(shared.answer, signal);
      signal.throwIfAborted();
      return (await shared.answer) as T;
    } finally {
      shared.readers -= 1;
      if (shared.readers === 0 && signal.aborted) this.#end(key, shared);
    }
  }

  #find(key: string, { knownSince, repeats }: Reader): SharedRead | undefined {
    const shared = this.#reads.get(key);
    const isFresh = shared && shared.startedAt >= knownSince && monotonicMs() - shared.startedAt < usedForMs;
    if (!isFresh || shared.over.signal.aborted) return undefined;
    return shared.hasArrived || shared.repeats === repeats ? shared : undefined;
  }

  #start(key: string, { repeats }: Reader, read: (signal: AbortSignal) => Promise<unknown>): SharedRead {
    this.#forgetOld();
    const over = new AbortController();
    const startedAt = monotonicMs();
    const answer = read(over.signal);
    const shared: SharedRead = { startedAt, repeats, answer, over, readers: 0, hasArrived: false };
    this.#reads.set(key, shared);
    const onArrival = (): void => {
      shared.hasArrived = true;
    };
    // A failure is not kept: the next flow run tries again.
    answer.then(onArrival, () => this.#end(key, shared));
    return shared;
  }

  #end(key: string, shared: SharedRead): void {
    shared.over.abort();
    if (this.#reads.get(key) === shared) this.#reads.delete(key);
  }

  #forgetOld(): void {
    const now = monotonicMs();
    for (const [key, { startedAt, readers }] of this.#reads) {
      if (readers === 0 && now - startedAt >= usedForMs) this.#reads.delete(key);
    }
  }
}
