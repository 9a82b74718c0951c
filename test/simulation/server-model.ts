// A model of the Prefect server 3.9.1, as far as workers and engines meet it. `server-model.test.ts` compares it with a
// real server. Source: prefect server/orchestration/global_policy.py, server/api.
import type { JsonObject, StateType } from "../../src/api/wire.ts";
import { isFinal } from "../../src/run/states.ts";
import { matches } from "./flow-run-filter.ts";
import { ServerEvents } from "./server-events.ts";
import { type ModelPool, ServerPools, toQueue } from "./server-pools.ts";
import { judge, judgeForced, type ModelRun, type ModelState, type Proposal } from "./state-rules.ts";

/** A response. `body` is undefined for an empty one. */
export interface ModelResponse {
  readonly status: number;
  readonly body?: unknown;
}

interface ModelDeployment extends JsonObject {
  id: string;
  flow_id: string;
  work_queue_id: string;
}

/** Called after each change of a flow run's state. `poolId` is null if the flow run's work queue was deleted. */
export type OnState = (run: ModelRun, state: ModelState, poolId: string | null) => void;

const notFound: ModelResponse = { status: 404, body: { detail: "Not found" } };
const detailsTypes = {
  ACCEPT: "accept_details",
  REJECT: "reject_details",
  ABORT: "abort_details",
  WAIT: "wait_details",
};
/** The server with its database. It decides requests one after the other. */
export class ServerModel {
  readonly runs = new Map<string, ModelRun>();
  readonly histories = new Map<string, ModelState[]>();
  readonly deployments = new Map<string, ModelDeployment>();
  readonly flows = new Map<string, JsonObject>();
  readonly events: ServerEvents;
  readonly #pools: ServerPools;
  onState: OnState = () => undefined;

  /** `nowMs` is the server's wall clock. `newId` returns a new id on each call. */
  constructor(
    private readonly nowMs: () => number,
    private readonly newId: () => string,
  ) {
    this.events = new ServerEvents(newId);
    this.#pools = new ServerPools(nowMs, newId);
  }

  /** The work pools by name. */
  get pools(): ReadonlyMap<string, ModelPool> {
    return this.#pools.byName;
  }

  /** Decides one request. `path` has no `/api`. */
  handle(method: string, path: string, body: unknown): ModelResponse {
    const [where = "", query = ""] = path.split("?");
    const parts = where.split("/").filter((part) => part !== "");
    const key = `${method} ${parts.map((part, index) => (index === 1 && part !== "filter" ? "*" : part)).join("/")}`;
    const route = this.#routes[parts.length === 1 && where.endsWith("/") ? `${key}/` : key];
    return route ? route(decodeURIComponent(parts[1] ?? ""), (body ?? {}) as JsonObject, query) : notFound;
  }

  /** Creates a flow and a deployment in a pool, and returns the id of the deployment. */
  addDeployment(name: string, poolName: string): string {
    const flow = { id: this.newId(), name: `flow-of-${name}`, tags: [], labels: {} };
    this.flows.set(flow.id, flow);
    const pool = this.pools.get(poolName) as ModelPool;
    const id = this.newId();
    const updated = this.#time();
    const names = { name, tags: [], job_variables: {}, work_queue_id: pool.default_queue_id };
    this.deployments.set(id, { id, flow_id: flow.id, updated, ...names });
    return id;
  }

  /** Deletes the work pool. Its flow runs stay, without a work queue. */
  deletePool(name: string): void {
    const pool = this.#pools.delete(name);
    for (const run of this.runs.values())
      if (pool && run.work_queue_id === pool.default_queue_id) run.work_queue_id = null;
  }

  readonly #routes: Readonly<Record<string, (name: string, body: JsonObject, query: string) => ModelResponse>> = {
    "GET work_pools/*": (name) => found(this.pools.get(name)),
    "POST work_pools/": (_, body) => this.#createPool(body),
    "PATCH work_pools/*": (name, body) => this.#onPool(name, (pool) => void Object.assign(pool, body)),
    "POST work_pools/*/queues/filter": (name) => this.#onPool(name, (pool) => [toQueue(pool)]),
    "POST work_pools/*/workers/heartbeat": (name, body) => this.#onPool(name, (pool) => this.#pools.beat(pool, body)),
    "POST work_pools/*/workers/filter": (name) => this.#onPool(name, (pool) => this.#pools.listWorkers(pool)),
    "POST work_pools/*/get_scheduled_flow_runs": (name, body) => this.#onPool(name, (pool) => this.#poll(pool, body)),
    "GET deployments/*": (id) => found(this.deployments.get(id)),
    "POST deployments/*/create_flow_run": (id, body) => this.#createRun(id, body),
    "GET flows/*": (id) => found(this.flows.get(id)),
    "GET flow_runs/*": (id) => found(this.runs.get(id)),
    "PATCH flow_runs/*": (id, body) => this.#onRun(id, (run) => void Object.assign(run, body)),
    "PATCH flow_runs/*/labels": (id, body) => this.#onRun(id, (run) => void Object.assign(run.labels, body)),
    "POST flow_runs/*/set_state": (id, body) => this.#setState(id, body),
    "GET flow_run_states/": (_, _body, query) => ok(this.histories.get(query.replace("flow_run_id=", "")) ?? []),
    "POST flow_runs/filter": (_, body) =>
      ok([...this.runs.values()].filter((run) => matches(run, body, this.#pools.of(run)?.name))),
    "GET csrf-token": () => ({ status: 422, body: { detail: "CSRF protection is disabled." } }),
    "POST events/filter": (_, body) => ok(this.events.find(body)),
    "POST logs/filter": () => ok([]),
  };

  #createPool(body: JsonObject): ModelResponse {
    const pool = this.#pools.create(body);
    return pool ? { status: 201, body: pool } : { status: 409, body: { detail: "Work pool already exists." } };
  }

  #onPool(name: string, act: (pool: ModelPool) => unknown): ModelResponse {
    const pool = this.pools.get(name);
    if (!pool) return { status: 404, body: { detail: `Work pool "${name}" not found.` } };
    return emptyOr(act(pool));
  }

  #onRun(id: string, act: (run: ModelRun) => unknown): ModelResponse {
    const run = this.runs.get(id);
    return run ? emptyOr(act(run)) : notFound;
  }

  #poll(pool: ModelPool, body: JsonObject): object[] {
    if (pool.is_paused) return [];
    const before = Date.parse(String(body.scheduled_before));
    const ofPool = [...this.runs.values()].filter((run) => run.work_queue_id === pool.default_queue_id);
    const busy = ofPool.filter((run) => run.state_type === "RUNNING" || run.state_type === "PENDING").length;
    const limit = Math.min(Number(body.limit ?? 200), Math.max(0, (pool.concurrency_limit ?? 200) - busy));
    return ofPool
      .filter((run) => run.state_type === "SCHEDULED" && run.empirical_policy.retry_type !== "in_process")
      .filter((run) => Date.parse(run.next_scheduled_start_time ?? "") <= before)
      .sort((one, other) => timeOf(one) - timeOf(other))
      .slice(0, limit)
      .map((run) => ({ work_pool_id: pool.id, work_queue_id: pool.default_queue_id, flow_run: run }));
  }

  #createRun(deploymentId: string, body: JsonObject): ModelResponse {
    const deployment = this.deployments.get(deploymentId);
    if (!deployment) return notFound;
    const id = this.newId();
    const policy = { retries: 0, retry_delay: 0, retry_type: null, ...(body.empirical_policy as object | undefined) };
    const proposal = (body.state ?? { type: "SCHEDULED" }) as unknown as Proposal;
    const initial = this.#newState(id, proposal);
    const run: ModelRun = {
      id,
      name: String(body.name ?? `run-${this.runs.size + 1}`),
      created: this.#time(),
      flow_id: deployment.flow_id,
      deployment_id: deploymentId,
      state: initial,
      state_type: initial.type,
      state_name: initial.name,
      tags: [],
      job_variables: (body.job_variables ?? {}) as JsonObject,
      infrastructure_pid: null,
      expected_start_time: null,
      next_scheduled_start_time: null,
      start_time: null,
      work_queue_id: deployment.work_queue_id,
      run_count: 0,
      empirical_policy: policy,
      labels: {},
    };
    this.runs.set(id, run);
    this.histories.set(id, []);
    this.#store(run, initial);
    return { status: 201, body: run };
  }

  #setState(id: string, body: JsonObject): ModelResponse {
    const run = this.runs.get(id);
    if (!run) return notFound;
    const proposed = this.#newState(id, body.state as unknown as Proposal);
    const verdict = body.force === true ? judgeForced(run, proposed) : judge(run, proposed, this.nowMs());
    if (verdict.status === "ACCEPT") this.#store(run, proposed);
    else if ("instead" in verdict && verdict.instead) this.#store(run, this.#newState(id, verdict.instead));
    const { status, ...rest } = verdict;
    const { instead: _, ...details } = rest as { instead?: Proposal };
    const isNew = status === "ACCEPT" || ("instead" in verdict && verdict.instead !== undefined);
    const response = { state: run.state, status, details: { type: detailsTypes[status], ...details } };
    return { status: isNew ? 201 : 200, body: response };
  }

  #newState(runId: string, { type, name, message, data, state_details: given }: Proposal): ModelState {
    const isScheduled = type === "SCHEDULED";
    return {
      id: this.newId(),
      type,
      name: name ?? titleOf(type),
      timestamp: this.#time(),
      message: message ?? null,
      data: data ?? null,
      state_details: {
        flow_run_id: runId,
        transition_id: given?.transition_id ?? null,
        scheduled_time: given?.scheduled_time ?? (isScheduled ? this.#time() : null),
        pause_reschedule: given?.pause_reschedule ?? false,
      },
    };
  }

  /** Makes this the flow run's state. Source: prefect server/orchestration/global_policy.py. */
  #store(run: ModelRun, state: ModelState): void {
    run.next_scheduled_start_time = state.type === "SCHEDULED" ? state.state_details.scheduled_time : null;
    run.expected_start_time ??= state.state_details.scheduled_time ?? state.timestamp;
    if (state.type === "RUNNING") {
      run.start_time ??= state.timestamp;
      run.run_count++;
    }
    if (isFinal(state)) run.start_time ??= state.timestamp;
    run.state = state;
    run.state_type = state.type;
    run.state_name = state.name;
    this.histories.get(run.id)?.push(state);
    this.events.add(run.id, `prefect.flow-run.${state.name}`);
    this.onState(run, state, this.#pools.of(run)?.id ?? null);
  }

  #time(): string {
    return new Date(this.nowMs()).toISOString();
  }
}

function ok(body: unknown): ModelResponse {
  return { status: 200, body };
}

function found(object: unknown): ModelResponse {
  return object === undefined ? notFound : ok(object);
}

function emptyOr(result: unknown): ModelResponse {
  return result === undefined ? { status: 204 } : ok(result);
}

function titleOf(type: StateType): string {
  return type.charAt(0) + type.slice(1).toLowerCase();
}

function timeOf(run: ModelRun): number {
  return Date.parse(run.next_scheduled_start_time ?? "");
}
