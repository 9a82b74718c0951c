// A program that infrastructure executes for a flow run: how it is found again, how it ends, and how it is stopped.
import type { JsonObject, State } from "../api/wire.ts";
import type { HookCall } from "../program/run-hooks.ts";

/** Identifies what was started, as plain JSON for the journal. */
export interface Handle {
  readonly poolType: string;
  /** The server stores it as `infrastructure_pid`. Empty before the start. */
  readonly identifier: string;
  /** Proves that `identifier` still names the same thing, and says what else belongs to it. */
  readonly proof: JsonObject;
}

/** A program that was started. Disposing removes its temporary files and closes its control channel. */
export interface Execution extends AsyncDisposable {
  readonly handle: Handle;
  /**
   * Resolves when the program has started up and runs, as far as it says so. It may do so after `ended` if the program never
   * began. Never rejects.
   */
  readonly started: Promise<unknown>;
  /** Returns when it started, in ms since 1970 by the clock of this machine; null if that is not known. Missing if it never is. */
  startedAt?(): number | null;
  /**
   * Resolves when the program has ended. With `onLine`, its lines have been passed on by then, as far as possible. Never
   * rejects.
   */
  readonly ended: Promise<Ending>;
  /** Runs the flow's hooks. Null if the program is no Prefect engine, because then there are no hooks. */
  readonly hooks: HookRunner | null;
  /** Whether the program reports Running before it begins. */
  readonly reportsRunning: boolean;
  /** Whether the program sends heartbeat events itself. */
  readonly sendsHeartbeats: boolean;
  /**
   * Returns what the program wrote to the file that LICTOR_RESULT_FILE names, at most one byte more than is used; an empty
   * text for nothing. Called once after the end, for a program whose states the worker reports. Missing if there is no such
   * file. Never rejects.
   */
  readResult?(): Promise<string>;
  /**
   * Ends the program, first gently, then by force. If `why` is "cancel", an engine is sent the reason first. An engine that
   * has just reported its end is not stopped; then this returns "had ended". It returns "stopped" when no process of the
   * program is left.
   */
  stop(why: "cancel" | "kill", limits: StopLimits): Promise<"stopped" | "had ended">;
  /**
   * Ends what the program left running, or keeps it, and logs how many. Called once, after `ended` has resolved. Returns when
   * nothing is left. Never rejects.
   */
  endLeftovers(limits: Pick<StopLimits, "leave">): Promise<void>;
}

/** What shortens the end of a program: the steps that end the worker. */
export interface StopLimits {
  /** After this, a program that ends itself is not waited for. */
  readonly kill: AbortSignal;
  /** After this, nothing is ended gently. */
  readonly leave: AbortSignal;
}

/** How a program ended. */
export type Ending =
  /**
   * `status` is negative for a death by signal. `reported` is set if the engine reported the end to the server. `why` is
   * what the infrastructure knows of a failure, as sentences. `output` is logged if a crash is reported. `isCrash` is set if
   * the infrastructure ended the program or could not start it, whatever its exit code.
   */
  | {
      readonly kind: "exited";
      readonly status: number;
      readonly reported: ReportedEnd | null;
      readonly why?: string;
      readonly output?: RunOutput;
      readonly isCrash?: true;
    }
  /**
   * There is no exit code, because the program was adopted or its machine is gone. `mayHaveBegun` is false if the program
   * was certainly not started, or if it is an engine that cannot have begun without reporting Running.
   */
  | { readonly kind: "gone"; readonly why: string; readonly mayHaveBegun: boolean; readonly output?: RunOutput };

/** The last lines that a program printed. `of` names where. */
export interface RunOutput {
  readonly of: string;
  readonly lines: readonly string[];
}

/** The engine's receipt for the end of the flow run. `state` is null if the receipt names none. */
export interface ReportedEnd {
  readonly state: Pick<State, "type" | "name"> | null;
}

/** Runs the hooks of a flow that its engine did not run. */
export interface HookRunner {
  /** The hooks that the program runs itself when it reports the state. */
  readonly runsItself: { readonly cancellation: boolean; readonly crashed: boolean };
  /** Runs the hooks. Failures are logged, never thrown. */
  run(call: HookRequest): Promise<void>;
}

/** Which hooks to run, and the `state` that they receive. An abort of `end` ends them gently, of `leave` at once. */
export type HookRequest = Pick<HookCall, "kind" | "state" | "flowRun" | "end" | "leave">;
