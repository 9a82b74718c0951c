// What tests do to a Prefect server and ask of it: the user's side of the API, and the proof of what lictor did.
import type { FlowRun, JsonObject, LogRecord, State, StateType, WorkPool, WorkQueue } from "../../src/api/wire.ts";
import { type JsonRequest, jsonRequest } from "./json-request.ts";
import { waitFor } from "./wait-for.ts";

/** A deployment to create; `path` is the folder of the code, `entrypoint` is relative to it. */
export interface NewDeployment {
  flowName: string;
  name: string;
  workPool: string;
  entrypoint?: string;
  path?: string;
  workQueue?: string;
  jobVariables?: JsonObject;
  pullSteps?: JsonObject[];
  storageBlockId?: string;
  parameterSchema?: JsonObject;
  tags?: string[];
  concurrencyLimit?: number;
}

/** A flow run to create; with neither `state` nor `scheduledTime` it is due at once. */
export interface NewFlowRun {
  name?: string;
  parameters?: JsonObject;
  scheduledTime?: Date;
  tags?: string[];
  jobVariables?: JsonObject;
  state?: JsonObject;
  /** Instead of the deployment's. */
  workQueue?: string;
}

/** A worker as the server has it. */
export interface WorkerRecord {
  id: string;
  name: string;
  status: string;
  last_heartbeat_time: string | null;
  heartbeat_interval_seconds: number | null;
}

/** An event as the server has it. */
export interface EventRecord {
  id: string;
  event: string;
  occurred: string;
  follows: string | null;
  resource: Record<string, string>;
  related: Record<string, string>[];
  payload: JsonObject;
}

/** A flow run and all states it has been in, oldest first. */
export interface FlowRunHistory {
  flowRun: FlowRun;
  states: State[];
}

/** The calls of one server. */
export type PrefectApi = ReturnType<typeof prefectApi>;

/** `headers` go with each request, for example `authorization`. */
export function prefectApi(apiUrl: string, options: { headers?: Record<string, string> } = {}) {
  const request = jsonRequest(apiUrl, options.headers);
  return { request, ...workPoolCalls(request), ...settingUpCalls(request), ...flowRunCalls(request) };
}

function workPoolCalls(request: JsonRequest) {
  return {
    /** Creates a work pool of type process unless `fields` say otherwise; fields are the wire's. */
    createWorkPool: (name: string, fields: JsonObject = {}) =>
      request<WorkPool>("POST", "/work_pools/", { name, type: "process", ...fields }),
    readWorkPool: (name: string) => request<WorkPool>("GET", `/work_pools/${encodeURIComponent(name)}`),
    updateWorkPool: (name: string, fields: JsonObject) =>
      request<void>("PATCH", `/work_pools/${encodeURIComponent(name)}`, fields),
    deleteWorkPool: (name: string) => request<void>("DELETE", `/work_pools/${encodeURIComponent(name)}`),
    createWorkQueue: (pool: string, name: string, fields: JsonObject = {}) =>
      request<WorkQueue>("POST", `/work_pools/${encodeURIComponent(pool)}/queues`, { name, ...fields }),
    updateWorkQueue: (pool: string, name: string, fields: JsonObject) =>
      request<void>("PATCH", `/work_pools/${encodeURIComponent(pool)}/queues/${encodeURIComponent(name)}`, fields),
    readWorkers: (pool: string) =>
      request<WorkerRecord[]>("POST", `/work_pools/${encodeURIComponent(pool)}/workers/filter`, {}),
  };
}

function settingUpCalls(request: JsonRequest) {
  return {
    /** Creates the flow if need be; gives the deployment's id. */
    async createDeployment(deployment: NewDeployment): Promise<string> {
      const flow = await request<{ id: string }>("POST", "/flows/", { name: deployment.flowName });
      const { id } = await request<{ id: string }>("POST", "/deployments/", {
        flow_id: flow.id,
        name: deployment.name,
        work_pool_name: deployment.workPool,
        work_queue_name: deployment.workQueue ?? null,
        entrypoint: deployment.entrypoint ?? null,
        path: deployment.path ?? null,
        job_variables: deployment.jobVariables ?? {},
        pull_steps: deployment.pullSteps ?? null,
        storage_document_id: deployment.storageBlockId ?? null,
        parameter_openapi_schema: deployment.parameterSchema ?? {},
        enforce_parameter_schema: false,
        tags: deployment.tags ?? [],
        concurrency_limit: deployment.concurrencyLimit ?? null,
      });
      return id;
    },
    deleteDeployment: (id: string) => request<void>("DELETE", `/deployments/${id}`),
    createVariable: (name: string, value: unknown) => request<{ id: string }>("POST", "/variables/", { name, value }),
    /** Creates a block document of a type that every server has, such as `secret`; gives its id. */
    async createBlock(typeSlug: string, name: string, data: JsonObject): Promise<string> {
      const type = await request<{ id: string }>("GET", `/block_types/slug/${typeSlug}`);
      const [schema] = await request<{ id: string }[]>("POST", "/block_schemas/filter", {
        block_schemas: { block_type_id: { any_: [type.id] } },
      });
      const document = { name, data, block_type_id: type.id, block_schema_id: schema?.id };
      return (await request<{ id: string }>("POST", "/block_documents/", document)).id;
    },
  };
}

function flowRunCalls(request: JsonRequest) {
  const readFlowRun = (id: string) => request<FlowRun>("GET", `/flow_runs/${id}`);
  /** All states of the run, oldest first. */
  const readStates = (id: string) => request<State[]>("GET", `/flow_run_states/?flow_run_id=${id}`);
  return {
    readFlowRun,
    readStates,
    createFlowRun: (deploymentId: string, run: NewFlowRun = {}) =>
      request<FlowRun>("POST", `/deployments/${deploymentId}/create_flow_run`, {
        parameters: run.parameters ?? {},
        tags: run.tags ?? [],
        job_variables: run.jobVariables ?? null,
        state: run.state ?? (run.scheduledTime ? scheduledState(run.scheduledTime) : null),
        ...(run.name === undefined ? {} : { name: run.name }),
        ...(run.workQueue === undefined ? {} : { work_queue_name: run.workQueue }),
      }),
    deleteFlowRun: (id: string) => request<void>("DELETE", `/flow_runs/${id}`),
    /** Proposes a state of that type and its usual name. */
    setState: (id: string, type: StateType, options: { message?: string; force?: boolean } = {}) =>
      request<{ status: string; state: State }>("POST", `/flow_runs/${id}/set_state`, {
        state: { type, name: type.charAt(0) + type.slice(1).toLowerCase(), message: options.message ?? null },
        force: options.force ?? false,
      }),
    readLogs: (flowRunId: string) =>
      request<LogRecord[]>("POST", "/logs/filter", {
        logs: { flow_run_id: { any_: [flowRunId] } },
        sort: "TIMESTAMP_ASC",
      }),
    /** Events that match the filter, oldest first; the server lets them be read some 100 ms after they arrived. */
    readEvents: async (filter: JsonObject) =>
      (
        await request<{ events: EventRecord[] }>("POST", "/events/filter", {
          filter: { order: "ASC", ...filter },
          limit: 50,
        })
      ).events,
    /**
     * Waits until the run is in a state of one of these types; a run that ends in another type fails at once. Asks every
     * `intervalMs`, which takes a server some 10 ms of processor time.
     */
    async waitForState(
      id: string,
      types: readonly StateType[],
      timeoutMs: number,
      intervalMs = 100,
    ): Promise<FlowRunHistory> {
      const reached = async () => {
        const flowRun = await readFlowRun(id);
        const type = flowRun.state_type;
        if (type && types.includes(type)) return flowRun;
        if (type && finalTypes.includes(type))
          throw new Error(`flow run ${id} ended in ${type}: ${flowRun.state?.message}`);
        return undefined;
      };
      const what = `flow run ${id} to be ${types.join(" or ")}`;
      const flowRun = await waitFor(reached, { timeoutMs, what, intervalMs }).catch(async (error: Error) => {
        const states = (await readStates(id)).map((state) => `${state.name} (${state.message})`);
        throw new Error(`${error.message}\nits states: ${states.join(", ")}`, { cause: error });
      });
      return { flowRun, states: await readStates(id) };
    },
  };
}

/** The types of states in which a flow run has ended. */
export const finalTypes: readonly StateType[] = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"];

function scheduledState(time: Date): JsonObject {
  return { type: "SCHEDULED", name: "Scheduled", state_details: { scheduled_time: time.toISOString() } };
}
