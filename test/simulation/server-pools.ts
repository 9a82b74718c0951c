// The work pools of the model of the server, and the heartbeats of their workers.
import type { JsonObject } from "../../src/api/wire.ts";
import type { ModelRun } from "./state-rules.ts";

/** A work pool with its only work queue. */
export interface ModelPool extends JsonObject {
  id: string;
  name: string;
  default_queue_id: string;
  is_paused: boolean;
  concurrency_limit: number | null;
  status: string;
}

/** A worker whose heartbeats stopped is OFFLINE after so many intervals. */
const missedHeartbeats = 3;

/** All work pools. */
export class ServerPools {
  readonly byName = new Map<string, ModelPool>();
  readonly #workers = new Map<string, Map<string, { seenMs: number; intervalMs: number }>>();

  constructor(
    private readonly nowMs: () => number,
    private readonly newId: () => string,
  ) {}

  /** Creates a work pool. Returns null if there is one of this name. */
  create(body: JsonObject): ModelPool | null {
    const name = String(body.name);
    if (this.byName.has(name)) return null;
    const fields = { is_paused: false, concurrency_limit: null, status: "NOT_READY", base_job_template: {} };
    const pool = { ...fields, ...body, name, id: this.newId(), default_queue_id: this.newId() };
    this.byName.set(name, pool);
    this.#workers.set(pool.id, new Map());
    return pool;
  }

  /** Deletes a work pool, and returns what it was. */
  delete(name: string): ModelPool | undefined {
    const pool = this.byName.get(name);
    this.byName.delete(name);
    if (pool) this.#workers.delete(pool.id);
    return pool;
  }

  /** Returns the work pool of a flow run. There is none if its work queue was deleted. */
  of({ work_queue_id }: ModelRun): ModelPool | undefined {
    return [...this.byName.values()].find((pool) => work_queue_id !== null && pool.default_queue_id === work_queue_id);
  }

  /** Stores the heartbeat of a worker. */
  beat(pool: ModelPool, body: JsonObject): void {
    const intervalMs = Number(body.heartbeat_interval_seconds ?? 10) * 1000;
    this.#workers.get(pool.id)?.set(String(body.name), { seenMs: this.nowMs(), intervalMs });
    if (pool.status === "NOT_READY") pool.status = "READY";
  }

  /** Returns the workers that are online. */
  listWorkers(pool: ModelPool): { name: string; status: string }[] {
    const workers = [...(this.#workers.get(pool.id) ?? [])];
    return workers
      .filter(([, { seenMs, intervalMs }]) => this.nowMs() - seenMs <= missedHeartbeats * intervalMs)
      .map(([name]) => ({ name, status: "ONLINE" }));
  }
}

/** Returns the work queue of a work pool. */
export function toQueue({ default_queue_id: id, is_paused }: ModelPool): object {
  return { id, name: "default", is_paused, concurrency_limit: null };
}
