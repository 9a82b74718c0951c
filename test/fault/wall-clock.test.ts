// A wall clock that is set back while a worker runs, as at the boot of a machine whose clock was wrong.
import { expect, test } from "vitest";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

/** The program's wall clock is an hour ahead, until SIGUSR2 sets it right. */
const aheadUntilSignal = `
  const now = Date.now;
  let ahead = 3600000;
  Date.now = () => now() + ahead;
  process.on("SIGUSR2", () => { ahead = 0; });
`;

const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(aheadUntilSignal)}`;

test("a wall clock that is set back by an hour stops no polls", async () => {
  await using server = await startPoolServer();
  await using worker = await startPoolWorker(server, { NODE_OPTIONS });
  const polled = { timeoutMs: 20_000, intervalMs: 20, what: "polls" };
  await waitFor(() => pollTimes(server).length >= 3, polled);
  worker.signal("SIGUSR2");
  const before = pollTimes(server).length;
  await waitFor(() => pollTimes(server).length >= before + 5, polled);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

// The server sends no event from before `since`. With the old `since` it would send none for an hour.
test("a wall clock that is set back by an hour opens the events stream again, without a warning", async () => {
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
  await using worker = await startPoolWorker(server, { NODE_OPTIONS });
  await waitFor(() => starts.length === 1, { timeoutMs: 20_000, what: "the subscription" });
  worker.signal("SIGUSR2");
  await waitFor(() => starts.length === 2, { timeoutMs: 15_000, what: "the second subscription" });
  const [first = 0, second = 0] = starts;
  expect(first - second).toBeGreaterThan(3_500_000);
  expect(first - second).toBeLessThanOrEqual(3_600_000);
  expect(worker.stderr).not.toMatch(/events stream/);
});

interface FilterFrame {
  type: string;
  filter: { occurred: { since: string } };
}
