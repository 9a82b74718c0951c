// The handle of a Job, for the journal and for the server.
import type { JsonObject } from "../../api/wire.ts";
import type { Handle } from "../execution.ts";

/** The proof of a handle. */
export interface HandleFacts {
  readonly flowRunId: string;
  /** The transition ids of the claim. */
  readonly attempt: readonly string[];
  readonly namespace: string;
  /** The name of the Job, which is known before it exists. */
  readonly name: string;
  /** Null before the Job exists. */
  readonly jobUid: string | null;
  /** The cluster, as its namespace `kube-system` names it. Null if the worker may not read that. */
  readonly clusterUid: string | null;
  /** Whether the job has a block with the cluster. Then only the job says how to reach it. */
  readonly hasBlock: boolean;
}

/** Returns the handle. The Job exists if it has a uid. Source: prefect_kubernetes/worker.py run. */
export function toHandle(facts: HandleFacts): Handle {
  const identifier = facts.jobUid === null ? "" : `${facts.namespace}:${facts.name}`;
  return { poolType: "kubernetes", identifier, proof: facts as unknown as JsonObject };
}

/** A Job by its place. */
export interface JobPlace {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Returns where the Job is; null if the handle does not say so. Older workers of the reference put the cluster's uid before
 * the namespace.
 */
export function placeOf(handle: Handle): JobPlace | null {
  const { namespace, name } = factsOf(handle);
  if (namespace && name) return { namespace, name };
  const parts = handle.identifier.split(":");
  const [of = "", job = ""] = parts.slice(-2);
  return parts.length > 1 && parts.length <= 3 && of !== "" && job !== "" ? { namespace: of, name: job } : null;
}

/** Returns the proof. A handle of another worker has only the flow run's id. */
export function factsOf({ proof }: Handle): Partial<HandleFacts> {
  return proof as unknown as Partial<HandleFacts>;
}
