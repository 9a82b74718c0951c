// The labels by which a later worker finds the containers of this one, also without a journal.

const flowRunId = "io.lictor.flow-run-id";
const workPoolId = "io.lictor.work-pool-id";
const instance = "io.lictor.instance";
const workerName = "io.lictor.worker-name";
const attempt = "io.lictor.attempt";
const streamsOutput = "io.lictor.stream-output";
const executesItself = "io.lictor.executes-itself";

/** All containers of lictor have this label. */
export const ownLabel = flowRunId;

/** What the labels of a container say. */
export interface ContainerFacts {
  readonly flowRunId: string;
  readonly workPoolId: string;
  /** The instance of the worker that created it; empty if that had no instance directory. */
  readonly instance: string;
  readonly workerName: string;
  /** The transition ids of the claim that it belongs to. A flow run that runs again has others. */
  readonly attempt: readonly string[];
  readonly streamsOutput: boolean;
  /** Whether it runs `prefect flow-run execute`, which reports Running and reacts to cancellations. */
  readonly executesItself: boolean;
}

/** Returns the labels of a container. */
export function toLabels(facts: ContainerFacts): Record<string, string> {
  return {
    [flowRunId]: facts.flowRunId,
    [workPoolId]: facts.workPoolId,
    [instance]: facts.instance,
    [workerName]: facts.workerName,
    [attempt]: facts.attempt.join(","),
    [streamsOutput]: String(facts.streamsOutput),
    [executesItself]: String(facts.executesItself),
  };
}

/** Returns what the labels say; null for a container that lictor did not create. */
export function readLabels(labels: Readonly<Record<string, string>> | null | undefined): ContainerFacts | null {
  const id = labels?.[flowRunId];
  if (!labels || id === undefined) return null;
  return {
    flowRunId: id,
    workPoolId: labels[workPoolId] ?? "",
    instance: labels[instance] ?? "",
    workerName: labels[workerName] ?? "",
    attempt: (labels[attempt] ?? "").split(",").filter((part) => part !== ""),
    streamsOutput: labels[streamsOutput] === "true",
    executesItself: labels[executesItself] === "true",
  };
}

/** Returns the filter for the containers of a flow run, or of a work pool. */
export function labelFilter(of: { flowRunId: string } | { workPoolId: string }): string {
  return "flowRunId" in of ? `${flowRunId}=${of.flowRunId}` : `${workPoolId}=${of.workPoolId}`;
}

/** Returns the flow run that a container belongs to, also for a container of the reference's worker. */
export function flowRunOf(labels: Readonly<Record<string, string>> | null | undefined): string | undefined {
  return labels?.[flowRunId] ?? labels?.["io.prefect.flow-run-id"];
}
