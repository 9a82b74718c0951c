// The program of a flow run that reports nothing itself: it ends with an exit code, and the shell around it writes that down.
import type { EngineParts, FlowPlan, Truth } from "./engine.ts";
import { type Exit, SimulatedProcess } from "./simulated-process.ts";
import { createOwner } from "./virtual-clock.ts";

/** The only reason for SIGKILL that spares the shell. */
export const outOfMemory = "out of memory";

/** A program with its shell. */
export class ProgramProcess extends SimulatedProcess {
  /** What the next worker finds. Null if the shell ended before it could write. */
  recorded: Exit | null = null;
  /** It has no control channel. */
  readonly reported = null;
  readonly controller = null;
  hasIntent = false;
  /** The shell opens its file before the program begins. */
  readonly hasBegun = true;

  readonly #startedMs: number;

  constructor(parts: EngineParts, pid: number, flowRunId: string, plan: FlowPlan, truth: Truth) {
    super(parts, pid, flowRunId, plan, truth, "program");
    this.#startedMs = parts.clock.now;
    truth.ranMs = 0;
    parts.clock.after(parts.random() * 500, this.owner, () => void this.#run());
  }

  /** Sends a signal. A program may tidy up after SIGTERM, and then its exit code says nothing of the signal. Some ignore it. */
  signal(signal: "SIGTERM" | "SIGKILL", why: string): void {
    if (!this.isAlive) return;
    const { clock, random, trace } = this.parts;
    trace(() => `${this.owner.name} gets ${signal} (${why})`);
    this.truth.losses.push(why);
    this.#noteTime();
    if (signal === "SIGKILL") {
      this.#exit(-9, { isRecorded: why === outOfMemory });
      return;
    }
    if (random() < 0.1) return;
    this.owner.alive = false;
    const dying = createOwner(`${this.owner.name} (ending)`, { isEngine: true });
    const tidiesUp = random() < 0.5;
    clock.after(random() * 5_000, dying, () => {
      if (tidiesUp && this.isAlive) this.truth.reported = "COMPLETED";
      this.#exit(tidiesUp ? 0 : -15, { isRecorded: true });
    });
  }

  /** The file with its exit code is lost, as after a loss of power. */
  loseRecord(): void {
    if (this.recorded === null) return;
    this.recorded = null;
    this.truth.losses.push("its exit code was lost");
  }

  #noteTime(): void {
    this.truth.ranMs ||= this.parts.clock.now - this.#startedMs;
  }

  async #run(): Promise<void> {
    const { truth, plan, owner, parts } = this;
    const hasFailed = ++truth.executions <= plan.failures;
    truth.reported = null;
    parts.trace(() => `${owner.name} runs`);
    await parts.clock.pause(plan.durationMs, owner);
    truth.reported = hasFailed ? "FAILED" : "COMPLETED";
    this.#exit(hasFailed ? 1 : 0, { isRecorded: true });
  }

  #exit(status: number, { isRecorded }: { isRecorded: boolean }): void {
    if (this.ending) return;
    this.#noteTime();
    const ending: Exit = { kind: "exited", status, reported: null };
    if (isRecorded) this.recorded = ending;
    this.finish(ending);
  }
}
