// The pods of one Job, as last seen, and how long their programs may still run.
import { monotonicMs } from "../../async/clock.ts";
import { waitAtMost } from "../../async/sleep.ts";
import { isFinal, type PodFacts } from "./pod-facts.ts";

interface KnownPod {
  readonly facts: PodFacts;
  /** Aborts when the pod has ended. */
  readonly end: AbortController;
  /** When the pod is gone at the latest, by the monotonic clock. Null if it was not told to end. */
  readonly goneByMs: number | null;
}

/**
 * A pod that was told to end is gone this time after its grace time. The pod of a node that does not answer stays until the
 * node is back, so it is not waited for longer.
 */
const removalMs = 30_000;

/** The pods of one Job. */
export class JobPods {
  readonly #pods = new Map<string, KnownPod>();
  #onChange: () => void = () => undefined;

  /** All pods that were ever seen. */
  get all(): PodFacts[] {
    return [...this.#pods.values()].map(({ facts }) => facts);
  }

  /** Notes how a pod is. Returns a signal that aborts when it has ended. */
  put(facts: PodFacts): AbortSignal {
    const { end, goneByMs = null } = this.#pods.get(facts.uid) ?? { end: new AbortController() };
    const graceMs = (facts.graceSeconds ?? 0) * 1000;
    // A pod that is deleted after its end, as with a time to live, was not told to end.
    const isTold = facts.graceSeconds !== null && (goneByMs !== null || !isFinal(facts));
    this.#pods.set(facts.uid, {
      facts: isTold ? facts : { ...facts, graceSeconds: null },
      end,
      goneByMs: isTold ? (goneByMs ?? monotonicMs() + graceMs + removalMs) : null,
    });
    if (isFinal(facts)) end.abort();
    this.#onChange();
    return end.signal;
  }

  /** Notes that a pod is gone. It stays in the list, because it may say how the flow run ended. */
  remove(uid: string): void {
    this.#pods.get(uid)?.end.abort();
    this.#onChange();
  }

  /** Notes that all pods have ended, as far as anybody knows. */
  endAll(): void {
    for (const { end } of this.#pods.values()) end.abort();
  }

  /**
   * Waits until all pods have ended. Kubernetes counts a pod as failed when it is told to end, and its program may still run
   * for the grace time. A pod that was not told to end is waited for `lagMs`, because the watch of pods may be behind.
   */
  async ended(lagMs: number, signal: AbortSignal): Promise<void> {
    const lagEndMs = monotonicMs() + lagMs;
    for (;;) {
      const running = [...this.#pods.values()].filter(({ end }) => !end.signal.aborted);
      const isEmpty = this.#pods.size === 0;
      const untilMs = Math.max(...(isEmpty ? [lagEndMs] : running.map(({ goneByMs }) => goneByMs ?? lagEndMs)));
      const leftMs = untilMs - monotonicMs();
      if (leftMs <= 0 || signal.aborted) return;
      const changed = new Promise<void>((resolve) => {
        this.#onChange = resolve;
      });
      await waitAtMost(changed, leftMs, signal);
    }
  }
}
