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

test("a wall clock that is set back by an hour stops no polls", async () => {
  await using server = await startPoolServer();
  const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(aheadUntilSignal)}`;
  await using worker = await startPoolWorker(server, { NODE_OPTIONS });
  const polled = { timeoutMs: 20_000, intervalMs: 20, what: "polls" };
  await waitFor(() => pollTimes(server).length >= 3, polled);
  worker.signal("SIGUSR2");
  const before = pollTimes(server).length;
  await waitFor(() => pollTimes(server).length >= before + 5, polled);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});
