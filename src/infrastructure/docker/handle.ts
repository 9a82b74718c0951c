// The handle of a container, for the journal and for the server.
import type { JsonObject } from "../../api/wire.ts";
import type { Handle } from "../execution.ts";
import type { EngineAddress } from "./engine/engine-address.ts";

/** The proof of a handle. */
export interface HandleFacts {
  readonly flowRunId: string;
  /** The transition ids of the claim. */
  readonly attempt: readonly string[];
  /** The engine removes the container at its end, so a missing container may have run. */
  readonly autoRemove: boolean;
  /** It reports Running itself. */
  readonly executesItself: boolean;
  /** The engine that has the container, as it names itself. Null if it does not. */
  readonly daemonId: string | null;
}

/** Returns the handle. `id` is empty before the container exists. Source: prefect_docker/worker.py _get_infrastructure_pid. */
export function toHandle({ baseUrl }: EngineAddress, id: string, facts: HandleFacts): Handle {
  const identifier = id === "" ? "" : `${baseUrl}:${id}`;
  return { poolType: "docker", identifier, proof: facts as unknown as JsonObject };
}

/** Returns the id of the container; null if the handle names none. */
export function containerOf({ identifier }: Pick<Handle, "identifier">): string | null {
  return /:([0-9a-f]{12,64})$/.exec(identifier)?.[1] ?? null;
}

/** Returns the proof. A handle of another worker has only the flow run's id. */
export function factsOf({ proof }: Handle): Partial<HandleFacts> {
  return proof as unknown as Partial<HandleFacts>;
}
