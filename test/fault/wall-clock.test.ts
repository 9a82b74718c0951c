// A wall clock that is set back or forward while a worker runs, as at the boot of a machine whose clock was wrong.
import { expect, test } from "vitest";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const hourMs = 3_600_000;

/** Options of Node.js with which the wall clock is wrong by `before` ms, and by `after` ms from SIGUSR2 on. */
function clockThatJumps(before: number, after: number): { NODE_OPTIONS: string } {
  const preloaded = `
    const now = Date.now;
    let wrongBy = ${before};
    Date.now = () => now() + wrongBy;
    process.on("SIGUSR2", () => { wrongBy = ${after}; });
  `;
  return { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(preloaded)}` };
}

const jumps: [way: string, before: number, after: number][] = [
  ["back", hourMs, 0],
  ["forward", 0, hourMs],
];

// Sockets are refused, so nothing but the interval makes the worker poll.
test.each(jumps)(
  "a wall clock that is set %s by an hour neither stops the polls nor causes a burst",
  async (_way, before, after) => {
    await using server = await startPoolServer();
    const env = { PREFECT_WORKER_QUERY_SECONDS: "0.5", PREFECT_WORKER_HEARTBEAT_SECONDS: "1" };
    await using worker = await startPoolWorker(server, { ...env, ...clockThatJumps(before, after) });
    const polled = { timeoutMs: 20_000, intervalMs: 20, what: "polls" };
    await waitFor(() => pollTimes(server).length >= 3, polled);
    worker.signal("SIGUSR2");
    const [polls, requests] = [pollTimes(server).length, server.requests.length];
    await waitFor(() => pollTimes(server).length >= polls + 6, polled);
    const times = pollTimes(server).slice(polls - 1);
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    // The shortest interval with its jitter is 376 ms.
    expect(Math.min(...gaps)).toBeGreaterThan(300);
    // Beside each poll there is at most a heartbeat and an attempt to open each of three sockets.
    expect(server.requests.length - requests).toBeLessThan(6 * 5);
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  },
);

// The server sends no event from before `since`. With the old `since` it would send none for an hour.
test.each(jumps)(
  "a wall clock that is set %s by an hour opens the events stream again, without a warning",
  async (_way, before, after) => {
    const starts: number[] = [];
    await using server = await startPoolServer({
      sockets: {
        always: true,
        play: async (socket) => {
          await socket.acceptAuth();
          const frame = await socket.next<FilterFrame>().catch(() => undefined);
          if (frame?.type === "filter") starts.push(Date.parse(frame.filter.occurred.since));
          await socket.closed;
        },
      },
    });
    await using worker = await startPoolWorker(server, clockThatJumps(before, after));
    await waitFor(() => starts.length === 1, { timeoutMs: 20_000, what: "the subscription" });
    worker.signal("SIGUSR2");
    await waitFor(() => starts.length === 2, { timeoutMs: 15_000, what: "the second subscription" });
    const [first = 0, second = 0] = starts;
    // Some seconds pass until the worker notices.
    expect(second - first - (after - before)).toBeGreaterThanOrEqual(0);
    expect(second - first - (after - before)).toBeLessThan(100_000);
    expect(worker.stderr).not.toMatch(/events stream/);
  },
);

interface FilterFrame {
  type: string;
  filter: { occurred: { since: string } };
}
