// Reads what a container has printed: a part of it at once, or its lines as they come.
import { LineCutter } from "../../../process/output-lines.ts";
import type { Query } from "./call.ts";
import type { Cluster } from "./cluster.ts";
import type { CallOptions } from "./objects.ts";
import { pathOf, pods } from "./resources.ts";

/** Which part of a container's output. */
export interface LogSelection {
  /** The name of the container. It may be missing if the pod has one only. */
  readonly container?: string;
  /** At most this many lines from the end. */
  readonly tailLines?: number;
  /** The output of the instance before the last restart. */
  readonly previous?: boolean;
  /** Only lines from this time on, in RFC 3339. */
  readonly sinceTime?: string;
  /** Begins each line with its time, in RFC 3339 with nanoseconds, and a space. */
  readonly timestamps?: boolean;
}

/** The size of a log that is read at once. */
const mostLogBytes = 16 * 1024 * 1024;

/** Returns output of a container. Throws a ClusterError with status 400 if the container has not started. */
export async function readLog(
  cluster: Cluster,
  namespace: string,
  pod: string,
  selection: LogSelection,
  options: CallOptions,
): Promise<string> {
  const query: Query = { ...selection, limitBytes: mostLogBytes };
  const call = { ...options, query, asksNode: true };
  return await cluster.requestText("GET", `${pathOf(pods, namespace, pod)}/log`, call);
}

/**
 * Yields the lines of a container as it prints them, until it ends. Throws ClusterUnreachableError if the connection is lost.
 * The last time that was seen, as `sinceTime`, continues after that. Lines of the same second come again.
 */
export async function* followLog(
  cluster: Cluster,
  namespace: string,
  pod: string,
  selection: LogSelection,
  options: CallOptions,
): AsyncGenerator<string> {
  const query: Query = { ...selection, follow: true };
  const response = await cluster.open(`${pathOf(pods, namespace, pod)}/log`, { ...options, query, asksNode: true });
  const lines = new LineCutter();
  try {
    for await (const chunk of response) yield* lines.push(chunk as Buffer);
  } catch (error) {
    throw cluster.explainLostStream(error, options);
  }
  yield* lines.end();
}
