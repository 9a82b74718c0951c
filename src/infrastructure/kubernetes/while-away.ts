// Repeats what creates objects of a cluster.
import { sleep } from "../../async/sleep.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { ClusterError, ClusterUnreachableError, isOutage } from "./cluster/cluster-error.ts";
import type { Kubernetes } from "./kubernetes.ts";

/** Whose call it is. */
interface Caller {
  readonly kubernetes: Kubernetes;
  readonly cluster: Cluster;
  readonly signal: AbortSignal;
}

/**
 * Repeats a call after transient failures: without end while nobody answers or the credentials are not accepted, and else as
 * often as the settings say. A server may fail for ever, for example because of an admission webhook.
 */
export async function whileAway<T>(
  { kubernetes: { settings }, cluster, signal }: Caller,
  call: () => Promise<T>,
): Promise<T> {
  const { createAttempts, createPause } = settings;
  for (let failed = 1; ; ) {
    try {
      return await call();
    } catch (error) {
      signal.throwIfAborted();
      if (!isOutage(error) || (!isAway(error) && failed++ >= createAttempts)) throw error;
      const { seconds, leastJitter, mostJitter } = createPause;
      const pause = seconds + leastJitter + cluster.transport.random() * Math.max(0, mostJitter - leastJitter);
      const asked = error instanceof ClusterError ? (error.retryAfterMs ?? 0) : 0;
      await sleep(Math.max(pause * 1000, asked, leastPauseMs), signal);
      signal.throwIfAborted();
    }
  }
}

/** The settings allow a pause of 0 s, which would be a burst of requests while the cluster is away. */
const leastPauseMs = 100;

/** Returns whether the API server is not there now, has too much to do, or waits for new credentials. */
function isAway(error: unknown): boolean {
  if (error instanceof ClusterUnreachableError) return true;
  return error instanceof ClusterError && [401, 429, 502, 503, 504].includes(error.status);
}
