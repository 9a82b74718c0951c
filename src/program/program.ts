// What is started for a flow run, whatever it runs on.

/** The program of one flow run. */
export interface Program {
  /** The command as its words; null for the engine that Prefect's workers start, which the infrastructure knows. */
  readonly command: readonly string[] | null;
  /** The flow run's variables, without those of the machine that lictor runs on. */
  readonly env: Readonly<Record<string, string>>;
  /** Who tells the server how the flow run goes on: the engine, or the worker for a program that cannot. */
  readonly reporter: "engine" | "worker";
}
