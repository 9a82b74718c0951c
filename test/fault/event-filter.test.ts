// Which flow run states a worker asks the server to tell it of: each one more is an event per flow run of the whole pool.
import { expect, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import { waitFor } from "../support/wait-for.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const acted = ["SCHEDULED", "PENDING", "CANCELLING"];
const cases: [when: string, args: string[], stateTypes: string[]][] = [
  ["it acts upon when nobody looks", [], acted],
  [
    "there are of claimed flow runs with --with-healthcheck",
    ["--with-healthcheck"],
    [...acted, "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED", "CRASHED"],
  ],
];

test.concurrent.each(cases)("a worker subscribes to the states that %s", async (_when, args, stateTypes) => {
  let filter: unknown;
  await using server = await startPoolServer({
    sockets: {
      always: true,
      play: async (socket) => {
        await socket.acceptAuth();
        const frame = await socket.next<{ type: string; filter: object }>().catch(() => undefined);
        if (frame?.type === "filter") filter = frame.filter;
        await socket.closed;
      },
    },
  });
  const port = String(await findFreePort());
  await using _worker = await startPoolWorker(server, { PREFECT_WORKER_WEBSERVER_PORT: port }, args);
  expect(await waitFor(() => filter, { timeoutMs: 20_000, what: "the subscription" })).toMatchObject({
    event: { prefix: ["prefect.flow-run."] },
    resource: { labels: { "prefect.state-type": stateTypes } },
  });
});
