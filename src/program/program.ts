// The program of a flow run, independent of the infrastructure that runs it.

/** The program of one flow run, and who reports the states of the flow run. */
export type Program = EngineProgram | ReportedProgram;

interface CommonProgram {
  /** The flow run's variables, without the variables of the machine that lictor runs on. */
  readonly env: Readonly<Record<string, string>>;
}

/** A program that reports its states itself, as a Prefect engine does. */
export interface EngineProgram extends CommonProgram {
  /** The words of the command; null for the Prefect engine, which the infrastructure knows how to start. */
  readonly command: readonly string[] | null;
  readonly reporter: "engine";
}

/** Any other program. It knows nothing of Prefect, so the worker reports its states. */
export interface ReportedProgram extends CommonProgram {
  /** The words of the command. The first one names the program. */
  readonly command: readonly [string, ...string[]];
  readonly reporter: "worker";
  /** The parameters of the flow run as JSON. Infrastructure passes them on by `parametersVariable`. */
  readonly parameters: string;
  readonly rules: ReportRules;
}

/** What the worker has to know to report the states of a program. It is plain data, because the journal keeps it. */
export interface ReportRules {
  /** The program is stopped after this time; null for never. */
  readonly timeoutSeconds: number | null;
  /** How often the flow run is retried if its own policy does not say. Null for the server's default, which is never. */
  readonly retries: number | null;
  readonly retryDelaySeconds: number | null;
}

/** The variable with the parameters. The name is the one that Prefect's engine would read, and engines ignore it. */
export const parametersVariable = "PREFECT__PARAMETERS";
/** The variable with the path of a file that has the parameters, whatever their size. */
export const parametersFileVariable = "LICTOR_PARAMETERS_FILE";
/** The variable with the path of the file to which a program may write its result. */
export const resultFileVariable = "LICTOR_RESULT_FILE";

/** Longer results are not used. */
export const maxResultBytes = 10_000;

/** Linux takes no longer variable, with its name and the zero at its end. Source: execve(2), MAX_ARG_STRLEN. */
const longestVariableBytes = 128 * 1024;

/** Returns whether the parameters fit into an environment variable. */
export function fitsVariable(parameters: string): boolean {
  return Buffer.byteLength(parameters) + parametersVariable.length + 2 <= longestVariableBytes;
}
