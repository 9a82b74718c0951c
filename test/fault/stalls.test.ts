// A program that stands still for some seconds, because its event loop is blocked or because it is stopped.
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const blocksOnSignal = `process.on("SIGUSR2", () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000));`;

test("a stall of the event loop is told with its length, and /health does not answer meanwhile", async () => {
  await using server = await startPoolServer();
  const port = await findFreePort();
  const env = {
    NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(blocksOnSignal)}`,
    PREFECT_WORKER_WEBSERVER_PORT: String(port),
  };
  await using worker = await startPoolWorker(server, env, ["--with-healthcheck"]);
  await waitFor(() => pollTimes(server).length >= 3, { timeoutMs: 20_000, what: "polls" });
  const health = (ms: number): Promise<number> =>
    fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(ms) }).then(({ status }) => status);
  expect(await health(10_000)).toBe(200);
  worker.signal("SIGUSR2");
  const answers = async (): Promise<boolean> =>
    await health(1_000).then(
      () => true,
      () => false,
    );
  await waitFor(async () => !(await answers()), { timeoutMs: 2_500, intervalMs: 10, what: "no answer" });
  await worker.waitForOutput(/WARNING .*stood still for (2|3)\.\d s\./, 20_000);
  expect(await health(10_000)).toBe(200);
});

test("a worker that was stopped and goes on tells for how long, and polls at once", async () => {
  await using server = await startPoolServer();
  await using worker = await startPoolWorker(server);
  await waitFor(() => pollTimes(server).length >= 3, { timeoutMs: 20_000, what: "polls" });
  worker.signal("SIGSTOP");
  // The length of the stall that is tested, not a wait for something.
  await delay(2_800);
  worker.signal("SIGCONT");
  await worker.waitForOutput(/stood still for (1\.[7-9]|[2-9]\.\d) s\./, 20_000);
  const polls = pollTimes(server).length;
  await waitFor(() => pollTimes(server).length >= polls + 3, { timeoutMs: 20_000, what: "polls" });
});
