// The interface between the execution of a flow run and the infrastructure it runs on. A pool type sends no API requests.
import type { EventResource, JsonObject } from "../api/wire.ts";
import type { RunFacts } from "../job/job-fields.ts";
import type { Logger } from "../logger.ts";
import type { OutputLine } from "../process/output-files.ts";
import type { LinesSettled } from "../process/stored-position.ts";
import type { PythonFinding } from "../program/find-python.ts";
import type { Program, ReportRules } from "../program/program.ts";
import type { Execution, Handle, HookRunner } from "./execution.ts";

/** What to start, and how. Every pool type adds its own fields. */
export interface Job {
  readonly program: Program;
}

/** A type of work pool that lictor can serve. */
export interface PoolType {
  /** The server's name of the type, such as `process`. */
  readonly name: string;
  /**
   * Whether flow runs are processes of this machine, with a Python of this machine. Others, such as containers, go on when
   * this program is killed, and the next worker continues with them.
   */
  readonly isLocal: boolean;
  /** The base job template of a new work pool of this type. */
  readonly baseJobTemplate: JsonObject;
  /** Opens what all flow runs of this type share. It is called once per program, for the first pool of the type. */
  open(services: InfrastructureServices): Promise<Infrastructure>;
}

/** The services of the program that infrastructure may use. */
export interface InfrastructureServices {
  /** The environment that lictor was started with, and the settings of Prefect's integrations from files. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Returns the environment of a process on this machine, without the variables of a flow run. */
  processEnvironment(): Readonly<Record<string, string | undefined>>;
  /** Returns the Python that runs flows on this machine, or why there is none. */
  python(): Promise<PythonFinding>;
  /** Receives the lines that flow runs print. Null if flow runs print directly to lictor's own output. */
  readonly onOutput: ((flowRunId: string, line: OutputLine) => void) | null;
  /** Prints a line of a flow run, for infrastructure whose programs cannot print to lictor's own output. */
  printLine(flowRunId: string, line: OutputLine): void;
  /** Hides further secrets in all output. */
  hide(secrets: readonly string[]): void;
  /** Whether the processes that a flow run leaves behind go on. */
  readonly keepsOrphans: boolean;
  /** How engines of the type `process` are forked. Null if each gets a new Python. */
  readonly warmEngines: WarmEngineOptions | null;
  /** The logger for messages about flow runs. */
  readonly log: Logger;
}

/** How engines are forked from a Python that has imported them. */
export interface WarmEngineOptions {
  /** A fork server ends when it has had no flow run for this long. */
  readonly idleSeconds: number;
  /** The names of modules that are imported besides the engine. */
  readonly preload: readonly string[];
  /** Whether fork servers start with the first flow run that needs them, instead of with the worker. */
  readonly isLazy: boolean;
}

/** An opened pool type. */
export interface Infrastructure<J extends Job = Job> extends Disposable {
  /**
   * Prepares for the first flow run of a pool. `fields` are those of a job without job variables. Called once for each
   * worker. Missing if there is nothing to prepare. Throws JobConfigurationError.
   */
  prepare?(fields: JsonObject): Promise<void>;
  /** Prepares for a flow run that is about to start, before its job is known. Missing if there is nothing to prepare. */
  expect?(): void;
  /** Returns the typed job. Throws JobConfigurationError, and CommandError for a command that cannot be split. */
  toJob(fields: JsonObject, facts: RunFacts): J;
  /**
   * Returns why a flow run cannot start here now, in one sentence, or null. It is called before each claim. It calls
   * `readJob` only if the result depends on the job. An obstacle is logged by the pool type or the program, not per call.
   */
  obstacle(readJob: () => Promise<J>): Promise<string | null>;
  /**
   * Starts a program. Throws ShortageError if the machine lacks something now, and other errors if it cannot be started.
   * Throws the reason of `options.signal` if that aborts before. Nothing is left then.
   */
  start(job: J, options: StartOptions): Promise<Execution>;
  /**
   * Continues what an earlier worker of this pool started or was about to start. If it does not run any more, `ended` resolves at
   * once. Disposing removes what the earlier worker left. Returns null if it belongs to other infrastructure than this, so
   * that nobody here can say what became of it, and logs that. Throws the system's error if the machine lacks something now.
   */
  adopt(handle: Handle, options: AdoptOptions<J>): Promise<Execution | null>;
  /** Returns the runner of the hooks of a flow run whose program is gone together with its machine. They run here. */
  hooksOfLost(lost: Pick<AdoptOptions<J>, "flowRunId" | "readJob">): HookRunner;
  /** Finds what another worker started, by the identifier on the server. Returns null if it cannot be found from here. */
  findAbandoned(handle: Handle): Promise<Pick<Execution, "stop"> | null>;
  /**
   * Finds what workers of a pool started and no journal has to know of, because the infrastructure itself remembers it.
   * Called at the start of a worker and then regularly, so it also removes what has been kept long enough. A program that has
   * ended is returned at least once, not each time, because many may be kept. `fields` are those of a job without job
   * variables, empty if they are not valid. Throws the infrastructure's error.
   */
  findStarted(workPoolId: string, fields: JsonObject): Promise<readonly StartedProgram[]>;
  /** Removes a program that has not begun, because its flow run does not wait for it. Missing if there are none. */
  discard?(program: StartedProgram): Promise<void>;
  /** Returns what it watches, for the status of the program. Missing if it watches nothing. */
  watches?(): InfrastructureWatch[];
  /** Returns the installed packages of Prefect's collections. Prefect Cloud shows them. */
  integrations(): Promise<{ name: string; version: string }[]>;
}

/** A stream of changes that is followed, such as that of the pods in a namespace. */
export interface InfrastructureWatch {
  readonly name: string;
  /** The time since the last sign of life; null before the first one. */
  readonly ageMs: number | null;
  /** Why changes are not seen now; null if they are. */
  readonly problem: string | null;
}

/** A program that the infrastructure remembers, and who started it. */
export interface StartedProgram {
  readonly flowRunId: string;
  readonly handle: Handle;
  /** The instance and the name of the worker. The instance is empty if that worker had no instance directory. */
  readonly instance: string;
  readonly workerName: string;
  /** The transition ids of the claim that it was started for. */
  readonly proposals: readonly string[];
  /** False if it waits for infrastructure, so that it has certainly not begun. */
  readonly mayHaveBegun: boolean;
  /** How its states are reported; null if an engine does. Missing if only its job says so. */
  readonly rules?: ReportRules | null;
}

/** The flow run of a program, and its files. */
export interface RunFiles {
  readonly flowRunId: string;
  /** A directory for the files of this flow run, which the next worker also finds. Null if there is none. */
  readonly directory: string | null;
}

/** An event about the infrastructure of a flow run. Without a resource, it is about the worker. */
export interface InfrastructureEvent {
  readonly event: string;
  readonly resource: EventResource | null;
  /** For events that several workers send, so that the server keeps one. A new id if missing. */
  readonly id?: string;
  /** When it occurred, in RFC 3339. Now if missing or null. */
  readonly occurred?: string | null;
  /** What it is related to. The flow run, its flow and so on if missing. */
  readonly related?: readonly EventResource[];
}

/** The flow run whose program is started or adopted, as the infrastructure deals with it. */
export interface RunAccess extends RunFiles {
  /** Ends the wait for infrastructure that cannot be reached. */
  readonly signal: AbortSignal;
  /** Sends an event about the infrastructure of this flow run. */
  onEvent(event: InfrastructureEvent): void;
  /**
   * Receives each line of a program whose states the worker reports, besides the worker's own output. Missing or null for an engine,
   * because it sends its logs itself.
   */
  readonly onLine?: ((line: OutputLine) => void) | null;
  /** Tells when these lines have arrived at the server, or were given up. Missing or null: at once. */
  readonly linesSettled?: LinesSettled | null;
  /**
   * Reports that the program waits for infrastructure, and why. Returns false if the flow run does not wait for it any more,
   * because it has ended or was scheduled again. Never rejects.
   */
  onWaiting(reason: string): Promise<boolean>;
  /**
   * Returns whether the flow run still waits for its program, so that this certainly has not begun. Waits for the server. Throws
   * ApiError and the reason of the signal.
   */
  isAwaited(): Promise<boolean>;
}

/** The flow run whose program is adopted. */
export interface AdoptOptions<J extends Job = Job> extends RunAccess {
  /** Whether an earlier worker saw how the program ended. Then only what it left behind is of interest. */
  readonly hasEnded: boolean;
  /** Reads the job anew, for the hooks of a program that does not run any more. */
  readJob(): Promise<J>;
}

/** The flow run whose program is started, and the callback for its handle. */
export interface StartOptions extends RunAccess {
  /** The instance of this program; null if it has no instance directory. */
  readonly instance: string | null;
  /** The transition ids of the claim, by which a later worker recognises it. */
  readonly proposals: readonly string[];
  /**
   * Stores a handle. It is awaited twice: before the program starts, with an empty identifier, and when it has started. So a
   * worker that is killed between the two leaves a trace of what it was about to start.
   */
  onHandle(handle: Handle): Promise<void>;
}
