// How long a worker waits after the second signal for what is still going on.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, test } from "vitest";
import { startCommand } from "../server/cancelled-runs.ts";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import { type SeenRequest, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { tellTwice } from "../support/tell-twice.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";

const proposes = ({ path, body }: SeenRequest, name: string): boolean =>
  path.endsWith("/set_state") && body.includes(`"name":"${name}"`);

test("a command that ends itself when it is cancelled is not waited for", async () => {
  // Without events, the worker asks for cancelled flow runs.
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onUpgrade: ({ path }) => (path === "/events/out" ? 403 : undefined),
  });
  const command = `${process.execPath} -e "console.log('plain');setInterval(()=>0,1e3)" flow-run execute`;
  await using run = await startCommand(command, { apiUrl: proxy.apiUrl });
  await run.worker.waitForOutput(/^plain$/m, 20_000);
  await run.api.setState(run.id, "CANCELLING", { force: true });
  const asked = (): number => proxy.count("POST", "/flow_runs/filter");
  const before = asked();
  // The first look may have been answered before the cancellation.
  await waitFor(() => asked() > before + 1, { timeoutMs: 40_000, what: "the worker to find the cancellation" });
  expect(await tellTwice(run.worker, 120_000)).toBeLessThan(15_000);
  expect(await run.worker.exited).toEqual({ code: 0, signal: null });
  expect((await run.api.readFlowRun(run.id)).state_type).toBe("CANCELLED");
  // It was found: a flow run that is ended for the signal is proposed as Crashed first.
  expect(proxy.requests.filter((request) => proposes(request, "Crashed"))).toEqual([]);
});

test("hooks of a flow run whose report took long run to their end", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using directory = await makeTemporaryDirectory("lictor-hooks-");
  const file = join(directory.path, "hooks");
  // The name makes lictor take the command for one that may start an engine, which has hooks.
  const jobVariables = { command: "sh -c 'echo plain; exec sleep 300' prefect", env: { HOOKS_FILE: file } };
  const deployment = await deploy(api, pool, "hello", { entrypoint: "hooks.py:with_slow_hook", jobVariables });
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: async (request) => {
      if (proposes(request, "Crashed")) await sleep(50_000);
      return undefined;
    },
  });
  await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
  await api.createFlowRun(deployment);
  await worker.waitForOutput(/^plain$/m, 20_000);
  const tookMs = await tellTwice(worker, 120_000);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(await readFile(file, "utf8")).toBe("slow Crashed\n");
  expect(tookMs).toBeGreaterThan(60_000);
  expect(worker.stderr).not.toContain("could not be told");
});
