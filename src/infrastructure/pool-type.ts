// The seam between the life of a flow run and what executes it. A pool type knows neither the API nor the states.
import type { JsonObject, State } from "../api/wire.ts";
import type { RunFacts } from "../job/job-fields.ts";
import type { Logger } from "../logger.ts";
import type { OutputLine } from "../process/output-files.ts";
import type { PythonFinding } from "../program/find-python.ts";
import type { Program } from "../program/program.ts";
import type { HookCall } from "../program/run-hooks.ts";

/** What is started, and how: every pool type adds its own fields. */
export interface Job {
  readonly program: Program;
}

/** A kind of work pool that lictor can serve. */
export interface PoolType {
  /** The server's name of the type, such as `process`. */
  readonly name: string;
  /** What a work pool gets that is created for it. */
  readonly baseJobTemplate: JsonObject;
  /** Opens what all flow runs of this type share. Called once per program, when the first pool of the type is served. */
  open(services: InfrastructureServices): Promise<Infrastructure>;
}

/** What infrastructure may use of the program around it. */
export interface InfrastructureServices {
  /** The environment that lictor itself was started with. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The environment of a process on this machine whose flow run adds nothing of its own. */
  processEnvironment(): Readonly<Record<string, string | undefined>>;
  /** The Python that runs flows on this machine, as far as it is known. */
  python(): Promise<PythonFinding>;
  /** Takes the lines that flow runs print; null where they go straight to lictor's own output. */
  readonly onOutput: ((flowRunId: string, line: OutputLine) => void) | null;
  /** The logger of everything about flow runs. */
  readonly log: Logger;
}

/** An opened pool type. */
export interface Infrastructure<J extends Job = Job> extends Disposable {
  /** The typed job. Throws JobConfigurationError, and CommandError for a command that cannot be split. */
  toJob(fields: JsonObject, facts: RunFacts): J;
  /**
   * Why a flow run cannot start here now, in one sentence, or null. Asked before each claim; `readJob` is called only
   * where the answer depends on the job.
   */
  obstacle(readJob: () => Promise<J>): Promise<string | null>;
  /**
   * Starts a program. `onHandle` is awaited before the program can have an effect that outlives a crash of the worker.
   * Throws when it cannot be started.
   */
  start(job: J, options: StartOptions): Promise<Execution>;
  /** Finds what an earlier worker has started; null when nothing of it can be found from here. */
  adopt(handle: Handle): Promise<Pick<Execution, "stop"> | null>;
  /** Packages of Prefect's collections that flow runs find here, as Prefect Cloud wants to know them. */
  integrations(): Promise<{ name: string; version: string }[]>;
}

/** Whose program is started. */
export interface StartOptions {
  readonly flowRunId: string;
  onHandle(handle: Handle): Promise<void>;
}

/** Names what was started, in plain JSON. The server keeps `identifier` as `infrastructure_pid`. */
export interface Handle {
  readonly poolType: string;
  readonly identifier: string;
  /** What proves that `identifier` is still the same thing, such as the flow run's id in a process's environment. */
  readonly proof: JsonObject;
}

/** A program that was started. Disposing clears away what it leaves behind. */
export interface Execution extends AsyncDisposable {
  readonly handle: Handle;
  /** Resolves when the program has ended. Never rejects. */
  readonly ended: Promise<Ending>;
  /** Null where nobody can run the flow's hooks: the program is no Prefect engine. */
  readonly hooks: HookRunner | null;
  /** Whether the program itself sends events that it lives. */
  readonly sendsHeartbeats: boolean;
  /**
   * Ends the program: gently, then by force; `now` cuts the gentle part short. An engine is told of a cancellation first,
   * and is left alone when it has just reported its end. Returns when nothing of the program is left.
   */
  stop(why: "cancel" | "kill", now: AbortSignal): Promise<"stopped" | "had ended">;
}

/** How a program ended. */
export type Ending =
  /** `status` is negative for a death by signal. `reported`: the engine has told the server itself. */
  | { readonly kind: "exited"; readonly status: number; readonly reported: ReportedEnd | null }
  /** There is no exit code: the program was adopted, or its machine is gone. */
  | { readonly kind: "gone"; readonly why: string };

/** The engine's word that it has reported the end of the flow run. `state` is null when it does not say which one. */
export interface ReportedEnd {
  readonly state: Pick<State, "type" | "name"> | null;
}

/** Runs the hooks of a flow in place of an engine that could not. */
export interface HookRunner {
  /** The states whose hooks the program runs itself when it is the one that reports them. */
  readonly runsItself: { readonly cancellation: boolean; readonly crashed: boolean };
  /** Runs the hooks. Failures are logged, never thrown. */
  run(call: HookRequest): Promise<void>;
}

/** Which hooks to run; `state` is what they get. `end` ends them gently, `leave` kills them at once. */
export type HookRequest = Pick<HookCall, "kind" | "state" | "flowRun" | "end" | "leave">;
