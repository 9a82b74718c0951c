// A worker of one work pool, "p", against a scripted server that does all right unless the test says otherwise.
import type { ProgramOptions, RunningProgram } from "../support/lictor.ts";
import { LICTOR, startLictor } from "../support/lictor.ts";
import {
  type AnswerStep,
  type Script,
  type ScriptedServer,
  type SocketStep,
  startScriptedServer,
} from "../support/scripted-server.ts";

const poll = "POST /api/work_pools/p/get_scheduled_flow_runs";

/** The work pool. */
export const pool = {
  id: "00000000-0000-4000-8000-000000000001",
  name: "p",
  type: "process",
  base_job_template: { job_configuration: { command: "{{ command }}" }, variables: { properties: { command: {} } } },
  is_paused: false,
  concurrency_limit: null,
  status: "NOT_READY",
};

/** Starts the server; without steps sockets are refused, so that nothing but the interval makes the worker poll. */
export function startPoolServer(
  options: { polls?: AnswerStep[]; sockets?: SocketStep; http?: Script["http"] } = {},
): Promise<ScriptedServer> {
  const always = { always: true } as const;
  const sockets = options.sockets ?? { refuse: 403, ...always };
  return startScriptedServer({
    http: {
      "GET /api/work_pools/p": [{ body: pool, ...always }],
      "GET /api/csrf-token": [{ status: 404, ...always }],
      "POST /api/work_pools/p/queues/filter": [{ body: [], ...always }],
      "POST /api/work_pools/p/workers/heartbeat": [{ status: 204, ...always }],
      // Events that no socket has taken come here at the end.
      "POST /api/events": [{ status: 204, ...always }],
      "POST /api/events/filter": [{ body: { events: [] }, ...always }],
      "POST /api/work_pools/p/workers/filter": [{ body: [], ...always }],
      // The sweep asks for claimed flow runs.
      "POST /api/flow_runs/filter": [{ body: [], ...always }],
      [poll]: [...(options.polls ?? []), { body: [], ...always }],
      ...options.http,
    },
    sockets: {
      "/api/events/in": [sockets],
      "/api/events/out": [sockets],
      "/api/work_pools/p/workers/connect": [sockets],
    },
  });
}

/** When the polls came, in the server's milliseconds. */
export function pollTimes({ requests }: ScriptedServer): number[] {
  return requests.filter(({ method, path }) => `${method} ${path}` === poll).map(({ atMs }) => atMs);
}

/**
 * Starts the worker, with polls every 0.2 s; `args` are further options, `command` starts lictor. It has no Python, because
 * a claim waits for the search of one, which takes many seconds on a busy machine.
 */
export function startPoolWorker(
  server: ScriptedServer,
  env: ProgramOptions["env"] = {},
  args: readonly string[] = [],
  command: ProgramOptions["command"] = LICTOR,
): Promise<RunningProgram> {
  return startLictor(["worker", "start", "--pool", "p", "--name", "w", "--log-format", "text", ...args], {
    command,
    env: {
      PREFECT_API_URL: `${server.url}/api`,
      PREFECT_WORKER_QUERY_SECONDS: "0.2",
      LICTOR_PYTHON: "/no/python",
      ...env,
    },
  });
}
