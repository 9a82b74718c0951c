// The program of a flow run, independent of the infrastructure that runs it.

/** The program of one flow run. */
export interface Program {
  /** The words of the command; null for the Prefect engine, which the infrastructure knows how to start. */
  readonly command: readonly string[] | null;
  /** The flow run's variables, without the variables of the machine that lictor runs on. */
  readonly env: Readonly<Record<string, string>>;
  /** Who reports the states of the flow run: the engine, or the worker for a program that reports nothing. */
  readonly reporter: "engine" | "worker";
}
