// Cleanup messages of a real server: it gave up on a cancellation, and asks a worker to end what still runs.
import { describe, expect, test } from "vitest";
import { whyNoEngine } from "../support/docker-engine.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  containersOf,
  endOf,
  newDockerPool,
  runShell,
  startDockerWorker,
  useEngine,
  waitForContainer,
} from "./docker-pool.ts";

const missing = await whyNoEngine();

describe.skipIf(missing)("a cleanup that the server asks for", { timeout: 300_000 }, () => {
  const docker = useEngine();

  test("ends the container of a dead worker, and its lease is renewed while the container resists", async () => {
    needsPrefect("3.7.2", "cleanups over the worker channel");
    await using server = await startPrefectServer({
      env: {
        PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS: "1",
        PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_LEASE_SECONDS: "4",
      },
    });
    const pool = await newDockerPool(docker.engine, {}, server.apiUrl);
    await using first = await startDockerWorker(pool, { name: "one" });
    const id = await runShell(pool, "trap '' TERM; while true; do sleep 1; done");
    await waitForContainer(pool, id);
    // Without it, the server asks nobody.
    const isKnown = async () => (await pool.api.readFlowRun(id)).infrastructure_pid !== null;
    await waitFor(isKnown, { timeoutMs: 30_000, what: "the server to know the container" });
    first.signal("SIGKILL");
    await first.exited;
    await pool.api.setState(id, "CANCELLING");
    const { message } = await endOf(pool, id, "CANCELLED");
    expect(message).toBe("Flow run cancellation timed out; marked this flow run as Cancelled.");
    expect(await containersOf(pool, id)).toMatchObject([{ State: "running" }]);

    await using next = await startDockerWorker(pool, { name: "two", env: { PREFECT_LOGGING_LEVEL: "DEBUG" } });
    await next.waitForOutput(/Ended what another worker had left running of the cancelled flow run/, 90_000);
    await next.waitForOutput(/"operation":"ack","status":"accepted"/, 30_000);
    expect(next.stderr).toMatch(/"operation":"renew","status":"accepted"/);
    expect(await containersOf(pool, id)).toMatchObject([{ State: "exited" }]);
    expect((await endOf(pool, id, "CANCELLED")).message).toBe(message);
  });
});
