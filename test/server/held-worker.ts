// A worker whose proposals of one state wait in a proxy, while somebody else changes the flow run.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { RunningProgram } from "../support/lictor.ts";
import type { PrefectApi } from "../support/prefect-api.ts";
import { type Answer, type ReverseProxy, type SeenRequest, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

/** A worker whose proposals of one state the proxy holds back until `release`. */
export interface HeldWorker extends AsyncDisposable {
  api: PrefectApi;
  worker: RunningProgram;
  flowRunId: string;
  proxy: ReverseProxy;
  /** Resolves when the proposal is at the proxy. */
  held: Promise<unknown>;
  release(): void;
  executions(): Promise<string[]>;
}

/** A request that is held back and never reaches the server, and its answer. */
export interface HeldRead {
  path: RegExp;
  answer: Answer;
}

/** The job variables of a program that reports nothing. It writes its line into the file `log`. */
export const reportedByWorker = (log: string): JsonObject => ({
  reporter: "worker",
  program: ["sh", "-c", 'echo "$PREFECT__FLOW_RUN_ID" >> "$0"', log],
});

/** The job variables of a program that reports its states itself. */
export const reportedByItself = (log: string): JsonObject => ({ command: programCommand("report-completed.mjs", log) });

/** Starts the worker with one flow run in its pool; `run` is what the flow run is created with. */
export async function startHeld(
  what: string | HeldRead,
  run: object = {},
  jobVariables: (log: string) => JsonObject = reportedByItself,
): Promise<HeldWorker> {
  const api = sharedApi();
  const pool = await newPool(api);
  const directory = await makeTemporaryDirectory("lictor-late-");
  const log = join(directory.path, "executions");
  const deployment = await deploy(api, pool, "hello", { jobVariables: jobVariables(log) });
  const { id } = await api.request<{ id: string }>("POST", `/deployments/${deployment}/create_flow_run`, run);
  const isHeld = ({ path, body }: SeenRequest): boolean =>
    typeof what === "string" ? path.endsWith("/set_state") && body.includes(`"name":"${what}"`) : what.path.test(path);
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: async (request) => {
      if (!isHeld(request)) return undefined;
      await released;
      return typeof what === "string" ? undefined : what.answer;
    },
  });
  const worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: { PREFECT_API_REQUEST_TIMEOUT: "120" } });
  return {
    api,
    worker,
    proxy,
    flowRunId: id,
    held: waitFor(() => proxy.requests.some(isHeld), { timeoutMs: 30_000, what: "the request that is held back" }),
    release,
    executions: async () => (await readFile(log, "utf8").catch(() => "")).split("\n").filter(Boolean),
    async [Symbol.asyncDispose]() {
      release();
      await worker[Symbol.asyncDispose]();
      await proxy.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
}
