// The API client and a whole worker against a server that answers anything.

import { randomUUID } from "node:crypto";
import { getEventListeners, setMaxListeners } from "node:events";
import { createServer, type Server } from "node:http";
import { expect, test } from "vitest";
import { findDeployment, readFlow } from "../../src/api/deployments.ts";
import { filterCancelling, filterFlowRuns, findFlowRun } from "../../src/api/flow-runs.ts";
import { findVariable, readBlockDocument } from "../../src/api/references.ts";
import type { Json } from "../../src/api/wire.ts";
import { filterWorkQueues, findWorkPool, getScheduledFlowRuns, sendWorkerHeartbeat } from "../../src/api/work-pools.ts";
import { proposeState } from "../../src/run/propose-state.ts";
import { pendingState } from "../../src/run/states.ts";
import * as good from "../support/api-answers.ts";
import { type Fuzz, fuzzFrom } from "../support/fuzz.ts";
import { startLictor } from "../support/lictor.ts";
import { listenOnLoopback } from "../support/listen-on-loopback.ts";
import { signalUntil } from "../support/program-output.ts";
import { waitFor } from "../support/wait-for.ts";
import { openTestClient } from "./test-client.ts";

const goodAnswers: [path: RegExp, answer: Json][] = [
  [/get_scheduled_flow_runs$/, good.goodPoll],
  [/\/set_state$/, good.goodDecision],
  [/\/deployments\//, good.goodDeployment],
  [/\/flows\//, good.goodFlow],
  [/\/flow_runs\/filter$/, [good.goodFlowRun]],
  [/\/flow_runs\//, good.goodFlowRun],
  [/\/queues\/filter$/, [{ id: "q", name: "default", is_paused: false, concurrency_limit: null }]],
  [/\/work_pools\//, good.goodWorkPool],
  [/\/block_types\//, { data: { value: 1 } }],
  [/\/variables\//, { value: 1 }],
];

/** A good answer; each poll finds another flow run. */
function exampleFor(path: string): Json {
  const example = goodAnswers.find(([pattern]) => pattern.test(path))?.[1] ?? null;
  const isPoll = path.endsWith("/get_scheduled_flow_runs");
  return isPoll
    ? good.goodPoll.map((each) => ({ ...each, flow_run: { ...each.flow_run, id: randomUUID() } }))
    : example;
}

/** A body for the path: good, with a few things wrong, cut short, or none of it. */
function bodyFor(fuzz: Fuzz, path: string): string {
  const example = exampleFor(path);
  const text = JSON.stringify(fuzz.random() < 0.1 ? fuzz.value() : fuzz.mutate(example));
  return fuzz.random() < 0.05 ? text.slice(0, fuzz.below(text.length)) : text;
}

/** Answers with 200, or one time in ten with one of `statuses`; `isGood` paths are answered well. */
function startNonsense(fuzz: Fuzz, statuses: readonly number[], isGood: (path: string) => boolean = () => false) {
  let answered = 0;
  const server: Server = createServer((request, response) => {
    request.resume();
    answered++;
    const path = new URL(request.url ?? "/", "http://nonsense").pathname;
    const status = isGood(path) || fuzz.random() < 0.9 ? 200 : fuzz.pick(statuses);
    const body = isGood(path) ? JSON.stringify(exampleFor(path)) : bodyFor(fuzz, path);
    response.writeHead(status, { "content-type": fuzz.pick(["application/json", "text/html", ""]) });
    response.end(status === 204 ? undefined : body);
  });
  return { server, listening: listenOnLoopback(server), answered: () => answered };
}

const connections = (server: Server): Promise<number> =>
  new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))));

test("2,000 answers of nonsense are values or errors with a line of words, and leave nothing behind", async () => {
  const fuzz = fuzzFrom(20261123, 0.06);
  const { server, listening, answered } = startNonsense(fuzz, [201, 204, 301, 400, 401, 403, 404, 409, 422, 500, 599]);
  const { origin, stop } = await listening;
  const api = openTestClient(origin, { maxRetries: 0, random: () => 0 });
  const over = new AbortController();
  setMaxListeners(0, over.signal);
  const options = { signal: over.signal };
  const calls: (() => Promise<unknown>)[] = [
    () => getScheduledFlowRuns(api, "p", { workQueueNames: [], scheduledBefore: new Date(0) }, options),
    () => findWorkPool(api, "p", options),
    () => filterWorkQueues(api, "p", [], options),
    () => sendWorkerHeartbeat(api, "p", { name: "w", heartbeat_interval_seconds: 30, return_id: true }, options),
    () => findFlowRun(api, "r", options),
    () => filterFlowRuns(api, {}, options),
    () => filterCancelling(api, { name: "p", workQueueNames: ["q"] }, options),
    () => findDeployment(api, "d", options),
    () => readFlow(api, "f", options),
    () => readBlockDocument(api, "secret", "s", options),
    () => findVariable(api, "v", options),
  ];
  const outcomes = new Map<string, number>();
  const callAll = async (): Promise<void> => {
    while (answered() < 2_000) {
      const outcome = await fuzz
        .pick(calls)()
        .then(
          () => "value",
          (error: Error) => {
            expect(error.message).not.toContain("\n");
            return error.name;
          },
        );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 16 }, callAll));
  const expected = ["ApiError", "UndecodableResponseError", "UnexpectedResponseError", "value"];
  expect([...outcomes.keys()].sort()).toEqual(expected);
  for (const count of outcomes.values()) expect(count).toBeGreaterThan(20);
  expect(getEventListeners(over.signal, "abort")).toEqual([]);
  const idle = { timeoutMs: 5_000, what: "no more connections than may stay idle" };
  await waitFor(async () => (await connections(server)) <= 15, idle);
  api[Symbol.dispose]();
  await waitFor(async () => (await connections(server)) === 0, { timeoutMs: 5_000, what: "no connection left" });
  await stop();
});

test("1,000 decisions of nonsense about a proposed state are decisions or errors", async () => {
  const fuzz = fuzzFrom(20261124, 0.06);
  // A 5xx is asked again without end, by intention, and so is what is no JSON.
  const { listening } = startNonsense(fuzz, [201, 400, 401, 403, 404, 409, 422]);
  const { origin, stop } = await listening;
  using api = openTestClient(origin, { maxRetries: 0, random: () => 0 });
  const propose = async (): Promise<void> => {
    for (let round = 0; round < 1_000 / 16; round++) {
      const decision = await proposeState(api, "r", pendingState(null)).catch((error: Error) => error);
      if (decision instanceof Error) expect(decision.name).toMatch(/^(ApiError|UnexpectedResponseError)$/);
      else expect(["accepted", "rejected", "aborted"]).toContain(decision.kind);
    }
  };
  await Promise.all(Array.from({ length: 16 }, propose));
  await stop();
});

test("a worker that is answered nonsense goes on, in words of one line each", async () => {
  const fuzz = fuzzFrom(20261125, 0.02);
  // The start has to succeed, and the flow runs to be many.
  const { listening, answered } = startNonsense(
    fuzz,
    [201],
    (path) => path.endsWith("/work_pools/p") || path.endsWith("/queues/filter"),
  );
  const { origin, stop } = await listening;
  await using worker = await startLictor(
    ["worker", "start", "--pool", "p", "--name", "w", "--log-format", "text", "--limit", "4"],
    {
      env: {
        PREFECT_API_URL: `${origin}/api`,
        PREFECT_WORKER_QUERY_SECONDS: "0.01",
        PREFECT_CLIENT_MAX_RETRIES: "0",
        PREFECT_WORKER_ENABLE_CANCELLATION: "true",
        PREFECT_WORKER_CANCELLATION_POLL_SECONDS: "0.01",
        PREFECT_LOGGING_TO_API_ENABLED: "false",
      },
    },
  );
  // Three failures in a row count as an outage, and the waits grow then.
  await waitFor(() => answered() >= 500, { timeoutMs: 120_000, what: "500 answers" });
  worker.signal("SIGTERM");
  await signalUntil(worker, "SIGTERM", /Ending all flow runs/);
  expect((await worker.exited).code).toBe(0);
  expect(worker.stderr).not.toMatch(/^ {4}at |TypeError|RangeError|unhandled/im);
  expect(worker.stderr).toMatch(/submitted to infrastructure/);
  expect(worker.stderr).toMatch(/with JSON that is not what the Prefect API answers/);
  await stop();
});
