// A flow run that a worker reports about, and a server that has it in one state and accepts every proposal.
import type { State } from "../../src/api/wire.ts";
import type { Ending, Execution } from "../../src/infrastructure/execution.ts";
import { goneExecution } from "../../src/infrastructure/gone-execution.ts";
import { createRunRecord, type RunRecord } from "../../src/run/run-record.ts";
import type { Worker } from "../../src/worker/worker.ts";
import * as good from "../support/api-answers.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { openWorker } from "./channel-worker.ts";

/** The flow run and its worker. */
export interface ReportedRun extends AsyncDisposable {
  worker: Worker;
  run: RunRecord;
  /** The types of the states that were proposed, oldest first. */
  proposed(): string[];
  /** The messages of these states. */
  messages(): (string | null)[];
  /** The changes of the flow run's fields, oldest first. */
  changes(): unknown[];
}

/** Returns a program without hooks that has ended like this. */
export function endedExecution(poolType: string, ending: Ending): Execution {
  return goneExecution({ poolType, identifier: "1", proof: {} }, ending);
}

/**
 * Starts the server. The last of `history` is the current state. The first changes of fields are answered with `patches`, and
 * proposals with `decision`. The record has proposed the transition id "ours".
 */
export async function openReportedRun(
  history: readonly State[],
  patches: readonly AnswerStep[] = [],
  decision: object = good.goodDecision,
): Promise<ReportedRun> {
  const always = { always: true } as const;
  const path = `/api/flow_runs/${good.goodFlowRun.id}`;
  const state = history.at(-1);
  const server = await startScriptedServer({
    http: {
      [`GET ${path}`]: [{ body: { ...good.goodFlowRun, state_type: state?.type, state }, ...always }],
      "GET /api/flow_run_states/": [{ body: history, ...always }],
      [`PATCH ${path}`]: [...patches, { status: 204, ...always }],
      [`POST ${path}/set_state`]: [{ body: decision, ...always }],
    },
  });
  const { worker, client } = openWorker(server.url);
  const run = createRunRecord({
    flowRun: good.goodFlowRun as never,
    workPool: good.goodWorkPool as never,
    slot: { [Symbol.dispose]: () => undefined },
    log: worker.log,
  });
  run.proposals.push("ours");
  const states = (): State[] =>
    server.requests
      .filter(({ path: requested }) => requested.endsWith("/set_state"))
      .map(({ body }) => (JSON.parse(body) as { state: State }).state);
  return {
    worker,
    run,
    changes: () => server.requests.filter(({ method }) => method === "PATCH").map(({ body }) => JSON.parse(body)),
    proposed: () => states().map(({ type }) => type),
    messages: () => states().map(({ message }) => message),
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await server.stop();
    },
  };
}
