// Many events at once: what a busy server sends when hundreds of flow runs are created together.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { ReceivedRequest } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

function scheduledEvent(): object {
  return {
    type: "event",
    event: {
      id: randomUUID(),
      event: "prefect.flow-run.Scheduled",
      occurred: new Date().toISOString(),
      resource: { "prefect.resource.id": `prefect.flow-run.${randomUUID()}`, "prefect.state-type": "SCHEDULED" },
      related: [],
    },
  };
}

test("a burst of 500 events is answered with a few polls and a few reads, not one each", async () => {
  let burst = (): void => {};
  await using server = await startPoolServer({
    sockets: {
      always: true,
      play: async (socket) => {
        await socket.acceptAuth();
        const frame = await socket.next<{ type: string }>().catch(() => undefined);
        if (frame?.type === "filter") {
          burst = () => {
            for (let count = 0; count < 500; count++) socket.send(scheduledEvent());
          };
        }
        await socket.closed;
      },
    },
  });
  await using worker = await startPoolWorker(server, { PREFECT_WORKER_QUERY_SECONDS: "600" });
  await worker.waitForOutput(/Worker 'w' started!/, 20_000);
  // One at the start, one when the socket is up, one for what happened while it was set up; on a slow machine two are one.
  await waitFor(() => pollTimes(server).length >= 2, { timeoutMs: 10_000, what: "the polls of the start" });
  const before = pollTimes(server).length;
  burst();
  const isRead = ({ path, body }: ReceivedRequest) => path === "/api/flow_runs/filter" && body.includes('"id":');
  const reads = (): number => server.requests.filter(isRead).length;
  await waitFor(() => reads() >= 3, { timeoutMs: 10_000, what: "all announced flow runs to be read" });
  expect(pollTimes(server).length - before).toBeLessThanOrEqual(5);
  expect(reads()).toBeLessThanOrEqual(4);
});
