// Intervals that Prefect accepts and that would make a loop without a pause, or a timer that fires at once.
import { expect, test } from "vitest";
import type { ScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

function count({ requests }: ScriptedServer, path: string): number {
  return requests.filter((request) => request.path === path).length;
}

const heartbeats = "/api/work_pools/p/workers/heartbeat";
const cancelling = "/api/flow_runs/filter";

const INTERVALS = ["WORKER_QUERY_SECONDS", "WORKER_CANCELLATION_POLL_SECONDS", "LOGGING_TO_API_BATCH_INTERVAL"];

test.each<[seconds: string, settings: string[]]>([
  ["0", [...INTERVALS, "WORKER_HEARTBEAT_SECONDS"]],
  ["0.001", [...INTERVALS, "WORKER_HEARTBEAT_SECONDS"]],
  ["-1", [...INTERVALS, "WORKER_HEARTBEAT_SECONDS"]],
  ["1e300", [...INTERVALS, "API_REQUEST_TIMEOUT", "WORKER_PREFETCH_SECONDS"]],
])(
  "times of %s s are accepted with a warning each, and load the server with a few requests a second",
  async (seconds, settings) => {
    await using server = await startPoolServer({ http: { [`POST ${cancelling}`]: [{ body: [], always: true }] } });
    await using worker = await startPoolWorker(server, {
      PREFECT_WORKER_ENABLE_CANCELLATION: "true",
      PREFECT_WORKER_HEARTBEAT_SECONDS: "1",
      ...Object.fromEntries(settings.map((name) => [`PREFECT_${name}`, seconds])),
    });
    // They are a second apart, more or less.
    await waitFor(() => count(server, heartbeats) >= 4, { timeoutMs: 15_000, what: "four heartbeats" });
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const times = server.requests.map(({ atMs }) => atMs);
    const passedSeconds = (Math.max(...times) - Math.min(...times)) / 1000;
    expect(passedSeconds).toBeGreaterThan(2);
    expect(count(server, heartbeats)).toBeLessThan(2 * passedSeconds + 2);
    expect(pollTimes(server).length).toBeLessThan(7 * passedSeconds + 2);
    expect(count(server, cancelling)).toBeLessThan(2 * passedSeconds + 4);
    const warned = [...worker.stderr.matchAll(/PREFECT_(\w+) is \S+; lictor uses/g)].map(([, name]) => name);
    expect(warned.sort()).toEqual([...settings].sort());
    expect(worker.stderr).not.toMatch(/Timeout\w+Warning|RangeError/);
  },
);
