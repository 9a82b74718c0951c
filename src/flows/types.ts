// The types of flows and tasks.

/** The definition of a parameter. A parameter without a default is required. */
export type ParameterDefinition =
  | TypedParameter<"string", string>
  | TypedParameter<"integer" | "number", number>
  | TypedParameter<"boolean", boolean>
  | TypedParameter<"array", readonly unknown[]>
  | TypedParameter<"object", Readonly<Record<string, unknown>>>;

interface TypedParameter<Type extends string, Value> {
  readonly type: Type;
  readonly default?: Value;
  readonly description?: string;
  /** The only values that are allowed. */
  readonly enum?: readonly Value[];
}

/** The parameters of a flow, by name. */
export type ParameterDefinitions = Readonly<Record<string, ParameterDefinition>>;

interface ValueOf {
  string: string;
  integer: number;
  number: number;
  boolean: boolean;
  array: readonly unknown[];
  object: Readonly<Record<string, unknown>>;
}

/** The values that a flow gets for its parameters. */
export type ParameterValues<P extends ParameterDefinitions> = {
  readonly [Name in keyof P]: P[Name] extends { readonly enum: readonly (infer Value)[] }
    ? Value
    : ValueOf[P[Name]["type"]];
};

/** The names of the parameters without a default. */
type RequiredNames<P extends ParameterDefinitions> = {
  [Name in keyof P]: P[Name] extends { readonly default: unknown } ? never : Name;
}[keyof P];

/** The values that a caller gives: those with a default may be left out. */
export type GivenParameters<P extends ParameterDefinitions> = Pick<ParameterValues<P>, RequiredNames<P>> &
  Partial<ParameterValues<P>>;

/** The options of a flow. Times are in seconds. */
export interface FlowOptions<P extends ParameterDefinitions> {
  /** The name of the flow on the server, and after the colon of an entrypoint. */
  readonly name: string;
  readonly parameters?: P;
  /** `lictor deploy` passes these on to the deployment. */
  readonly retries?: number;
  readonly retryDelaySeconds?: number;
  readonly timeoutSeconds?: number;
}

/** Where a flow or a task runs. */
export interface RunContext {
  /** The id of the flow run; null if the flow was called without a worker. */
  readonly flowRunId: string | null;
  /** The id of the task run; null outside a task, and without a worker. */
  readonly taskRunId: string | null;
  /** Which attempt of a task this is, from 1 on. */
  readonly attempt: number;
  /** Aborts when the flow run is cancelled, or when the task or the flow runs for too long. */
  readonly signal: AbortSignal;
}

/** A flow. It can be called like a function. */
export interface Flow<P extends ParameterDefinitions, Result> {
  (
    ...parameters: Record<string, never> extends GivenParameters<P>
      ? [given?: GivenParameters<P>]
      : [given: GivenParameters<P>]
  ): Promise<Result>;
  readonly flowName: string;
}

/** The options of a task. Times are in seconds. */
export interface TaskOptions {
  readonly name: string;
  /** How often a failed attempt is repeated. The default is 0. */
  readonly retries?: number;
  /**
   * The time before a repetition: always the same, one for each repetition, or a function of the number of the attempt that
   * failed. The default doubles from 1 to 60.
   */
  readonly retryDelaySeconds?: number | readonly number[] | ((attempt: number) => number);
  /** Each attempt is ended after this time. */
  readonly timeoutSeconds?: number;
  /** How many calls of this task run at the same time. The default is no limit. */
  readonly concurrency?: number;
  readonly tags?: readonly string[];
}

/** Writes log records of the flow run, or of the task run in which it is called. */
export interface Log {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  critical(message: string, fields?: Readonly<Record<string, unknown>>): void;
}
