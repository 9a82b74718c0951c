// The flow runs in this worker's hands: stops double starts, reaches a run to end it, lets a shutdown wait for all.
import { setMaxListeners } from "node:events";
import type { FlowRun } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import type { EndRequest } from "../run/end-flow-run.ts";

/** A flow run in flight. */
export interface InFlightRun {
  flowRun: FlowRun;
  /** When it was taken, on the monotonic clock. */
  since: number;
}

interface Entry extends InFlightRun {
  end: AbortController;
  done: Promise<void>;
}

/** Flow runs by id, from before their claim until their last state is reported. */
export class InFlight {
  readonly #entries = new Map<string, Entry>();

  has(flowRunId: string): boolean {
    return this.#entries.has(flowRunId);
  }

  /** Runs `execute`, which never rejects, and calls `onEnd` once the flow run is no longer in flight. */
  start(flowRun: FlowRun, execute: (end: AbortSignal) => Promise<void>, onEnd: () => void): void {
    const end = new AbortController();
    setMaxListeners(0, end.signal);
    const done = execute(end.signal).finally(() => {
      this.#entries.delete(flowRun.id);
      onEnd();
    });
    this.#entries.set(flowRun.id, { flowRun, since: monotonicMs(), end, done });
  }

  /** Asks for the end of one flow run; nothing happens if it is not in flight. The first request counts. */
  end(flowRunId: string, request: EndRequest): void {
    this.#entries.get(flowRunId)?.end.abort(request);
  }

  /** Resolves when the flow run is no longer in flight. */
  async ended(flowRunId: string): Promise<void> {
    await this.#entries.get(flowRunId)?.done;
  }

  /** Asks for the end of all. */
  endAll(request: EndRequest): void {
    for (const id of this.#entries.keys()) this.end(id, request);
  }

  /** What is in flight now, oldest first. */
  list(): InFlightRun[] {
    return [...this.#entries.values()];
  }

  /** Resolves when none is left. */
  async drained(): Promise<void> {
    while (this.#entries.size > 0) await Promise.all([...this.#entries.values()].map((entry) => entry.done));
  }
}
