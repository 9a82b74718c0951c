// The program of a flow run: a process that lives on when its worker dies, with an engine that reports to the server
// itself. Source: prefect engine.py, flow_engine.py.
import { UnreachableError } from "../../src/api/errors.ts";
import type { OrchestrationResult, State, StateType } from "../../src/api/wire.ts";
import type { HookRequest, ReportedEnd } from "../../src/infrastructure/execution.ts";
import { isFinal } from "../../src/run/states.ts";
import type { Random } from "../support/random.ts";
import type { Network } from "./network.ts";
import { SimulatedProcess } from "./simulated-process.ts";
import type { Proposal } from "./state-rules.ts";
import { createOwner, type Owner, type VirtualClock } from "./virtual-clock.ts";

/** What the flow of a flow run does. */
export interface FlowPlan {
  readonly durationMs: number;
  /** How many attempts fail before one succeeds. */
  readonly failures: number;
  /** It is a program that reports nothing, so the worker reports its states. */
  readonly isProgram: boolean;
  /** The worker stops the program after this time. Null for never. */
  readonly timeoutSeconds: number | null;
}

/** What really happened to one flow run, whatever the server says. */
export interface Truth {
  /** Processes of which the code of the flow, or of the program, began to run. */
  executions: number;
  /**
   * The end that an engine reported last, or what the last exit code of a program means. An engine that is killed just then
   * does not learn that the server accepted it.
   */
  reported: "COMPLETED" | "FAILED" | null;
  /** For how long the newest program ran, until its end or the first signal. */
  ranMs: number;
  /** Why a process ended without the end of its flow, or could not start. */
  readonly losses: string[];
  /** How often an engine that was told to end scheduled the flow run again. */
  reschedules: number;
  /** The kinds of hooks that workers ran. */
  readonly hooks: Set<HookRequest["kind"]>;
}

/** What processes need of the world. */
export interface EngineParts {
  readonly clock: VirtualClock;
  readonly network: Network;
  readonly random: Random;
  readonly trace: (line: () => string) => void;
}

/** The interval of the engine's heartbeats. */
const heartbeatMs = 30_000;
/** How often `prefect flow-run execute` looks for a cancellation. */
const lookMs = 10_000;
/** Engines give up after so many failed requests in a row. */
const maxFailures = 12;
/** The exit code of a Python that got SIGTERM is negative in the terms of Node.js. */
const signalNumbers = { SIGTERM: -15, SIGKILL: -9 };

/** An engine. */
export class FlowProcess extends SimulatedProcess {
  /** The end that the engine reported, for the receipt over the control channel. */
  reported: ReportedEnd | null = null;
  /** The worker told the engine of a cancellation before it sent SIGTERM. */
  hasIntent = false;
  /** The worker process that holds the control channel. Null for `prefect flow-run execute`, which has none. */
  readonly controller: Owner | null;
  /** The engine is reporting the end of the flow. */
  #isEnding = false;
  /** The owner of the last actions of a process that ends by itself. */
  #dying: Owner | null = null;

  constructor(
    parts: EngineParts,
    pid: number,
    flowRunId: string,
    plan: FlowPlan,
    truth: Truth,
    controller: Owner | null,
    /** What the engine does after SIGTERM. Source: PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR. */
    private readonly onTermination: "crash" | "reschedule" = "crash",
  ) {
    super(parts, pid, flowRunId, plan, truth, "process");
    this.controller = controller;
    parts.clock.after(200 + parts.random() * 1_500, this.owner, () => void this.#run());
    if (controller === null)
      parts.clock.after(parts.random() * lookMs, this.owner, () => void this.#watchCancellation());
  }

  /** Sends a signal. An engine needs some time after SIGTERM, and sometimes ignores it. */
  signal(signal: "SIGTERM" | "SIGKILL", why: string): void {
    if (!this.isAlive) return;
    const { clock, random } = this.parts;
    this.parts.trace(() => `${this.owner.name} gets ${signal} (${why})`);
    if (this.reported === null) this.truth.losses.push(why);
    if (signal === "SIGKILL") {
      this.#exit(signalNumbers.SIGKILL);
      return;
    }
    // Then it goes on until SIGKILL, which never comes if the worker dies before.
    if (random() < 0.1) return;
    const mayReport = !this.hasIntent && !this.#isEnding;
    const dying = this.#die("ending");
    clock.after(random() * 5_000, dying, () => {
      if (this.onTermination === "reschedule") void this.#reschedule(dying);
      else void this.#end(dying, mayReport && random() < 0.5);
    });
  }

  /** Ends what the process does. Returns the owner of its last actions. */
  #die(how: string): Owner {
    this.owner.alive = false;
    this.#dying = createOwner(`${this.owner.name} (${how})`, { isEngine: true });
    return this.#dying;
  }

  /** Ends after SIGTERM. Without the reason for the signal, an engine reports a crash by force. */
  async #end(dying: Owner, reportsCrash: boolean): Promise<void> {
    if (reportsCrash) await this.#propose(dying, { type: "CRASHED" }, true);
    this.#exit(signalNumbers.SIGTERM);
  }

  /** Schedules the flow run again, unless it has ended. Source: prefect cli/flow_run.py execute. */
  async #reschedule(dying: Owner): Promise<void> {
    const current = await this.#send<{ state: State | null }>(dying, "GET", "");
    if (!isFinal(current?.state) || current?.state?.type === "CRASHED") {
      const result = await this.#propose(dying, { type: "SCHEDULED", name: "AwaitingRetry" });
      if (result?.status === "ACCEPT") this.truth.reschedules++;
    }
    this.#exit(0);
  }

  async #run(): Promise<void> {
    const { clock, random, trace } = this.parts;
    const { owner, plan, truth } = this;
    let attempts = 0;
    for (;;) {
      const running = await this.#propose(owner, { type: "RUNNING" });
      if (running === null) {
        truth.losses.push("the engine gave up");
        return this.#exit(1);
      }
      // The engine of a flow run that was cancelled or taken ends without an error.
      if (running.status !== "ACCEPT") return this.#exit(0);
      if (attempts++ === 0) truth.executions++;
      if (attempts === 1) this.#beat();
      trace(() => `${owner.name} runs the flow, attempt ${attempts}`);
      await clock.pause(plan.durationMs, owner);
      const hasFailed = attempts <= plan.failures;
      const type = hasFailed ? "FAILED" : "COMPLETED";
      this.#isEnding = true;
      truth.reported = type;
      const ended = await this.#propose(owner, { type });
      if (ended === null) {
        truth.losses.push("the engine gave up");
        return this.#exit(1);
      }
      if (ended.status === "ACCEPT") {
        this.reported = { state: { type, name: ended.state?.name ?? "" } };
        await clock.pause(random() * 500, owner);
        return this.#exit(hasFailed && random() < 0.5 ? 1 : 0);
      }
      if (ended.state?.name !== "AwaitingRetry") return this.#exit(0);
      this.#isEnding = false;
      const retryAt = Date.parse(ended.state.state_details?.scheduled_time ?? "");
      await clock.pause(Math.max(0, retryAt - clock.wallClockMs()), owner);
    }
  }

  /** `prefect flow-run execute` looks for a cancellation, ends its engine, and reports Cancelled. Sometimes it hangs. */
  async #watchCancellation(): Promise<void> {
    const { clock, random, trace } = this.parts;
    const current = await this.#send<{ state_type: StateType }>(this.owner, "GET", "");
    if (current?.state_type !== "CANCELLING") {
      clock.after(lookMs, this.owner, () => void this.#watchCancellation());
      return;
    }
    if (random() < 0.2) return;
    trace(() => `${this.owner.name} cancels itself`);
    this.truth.losses.push("it cancelled itself");
    const dying = this.#die("cancelling");
    clock.after(random() * 5_000, dying, () => {
      void this.#propose(dying, { type: "CANCELLED" }, true).then(() => this.#exit(0));
    });
  }

  /** Sends heartbeats until the end of the process. */
  #beat(): void {
    const { clock, network } = this.parts;
    network.sendHeartbeat(this.flowRunId);
    clock.after(heartbeatMs, this.owner, () => this.#beat());
  }

  /** Proposes a state until the server has decided. Returns null after too many failures. */
  async #propose(owner: Owner, proposal: Proposal, force = false): Promise<OrchestrationResult | null> {
    const { clock, random } = this.parts;
    for (let waits = 0; ; waits++) {
      const transition_id = `engine-${this.pid}-${owner.name}-${proposal.type}-${waits}-${clock.now}`;
      const body = JSON.stringify({ state: { ...proposal, state_details: { transition_id } }, force });
      const result = await this.#send<OrchestrationResult>(owner, "POST", "/set_state", body);
      if (result === null) return null;
      if (result.state?.state_details?.transition_id === transition_id) return { ...result, status: "ACCEPT" };
      if (result.status !== "WAIT") return result;
      await clock.pause((result.details.delay_seconds ?? 1) * 1000 + random(), owner);
    }
  }

  /** Sends a request about the flow run. Returns null after too many failures. */
  async #send<T>(owner: Owner, method: string, path: string, body?: string): Promise<T | null> {
    const { clock, network, random } = this.parts;
    const url = new URL(`http://server/api/flow_runs/${this.flowRunId}${path}`);
    for (let failures = 0; failures < maxFailures; failures++) {
      try {
        const request = { url, method, headers: {}, timeoutMs: 60_000, ...(body !== undefined && { body }) };
        const response = await network.send(owner, request);
        if (response.status < 300) return JSON.parse(response.body) as T;
        if (response.status < 500) return null;
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
      }
      await clock.pause(Math.min(8_000, 500 * 2 ** failures) * (1 + random()), owner);
    }
    return null;
  }

  #exit(status: number): void {
    if (this.ending) return;
    if (this.#dying) this.#dying.alive = false;
    this.finish({ kind: "exited", status, reported: this.controller?.alive ? this.reported : null });
  }
}
