// What the server itself can do, with bare clients that do nothing else: the limits that no worker can beat.
import { once } from "node:events";
import { Agent, request } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { waitFor } from "../support/wait-for.ts";
import { type Bench, prepare } from "./bench-context.ts";
import { median } from "./statistics.ts";

/** The limits of one run of the bench. */
export interface Limits {
  /** Milliseconds from the creation of a flow run to its Running state: event, claim, Submitting and Running in a row. */
  runningMs: readonly number[];
  /** Accepted set_state requests per second with 1 and with 8 clients. */
  oneClientPerSecond: number;
  eightClientsPerSecond: number;
}

const flowRunsPerClient = 12;

/** Measures the limits. The flow runs of this pool have no worker. */
export async function measureLimits(bench: Bench): Promise<Limits> {
  const pool = `bench-limits-${Date.now() % 1e7}`;
  const deployment = await prepare(bench, pool, { command: "true" });
  bench.say("Measuring what the server can do with bare clients ...");
  const runningMs = await runBarely(bench, deployment, pool);
  await claimPerSecond(bench, deployment, 1);
  const rates = { one: [] as number[], eight: [] as number[] };
  for (let round = 0; round < bench.sizes.bursts; round++) {
    rates.one.push(await claimPerSecond(bench, deployment, 1));
    rates.eight.push(await claimPerSecond(bench, deployment, 8));
  }
  const limits = { runningMs, oneClientPerSecond: median(rates.one), eightClientsPerSecond: median(rates.eight) };
  bench.say(`limits: ${JSON.stringify({ ...limits, runningMs: median(runningMs) })}`);
  return limits;
}

/** Creates flow runs, and for each waits for its event and then sets the states of a start one after the other. */
async function runBarely({ api, apiUrl, sizes }: Bench, deployment: string, pool: string): Promise<number[]> {
  const { id: poolId } = await api.readWorkPool(pool);
  using client = openClient(apiUrl);
  const socket = new WebSocket(`${apiUrl.replace(/^http/, "ws")}/events/out`, ["prefect"]);
  try {
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "auth", token: null }));
    await once(socket, "message");
    const announced = new Set<string>();
    socket.on("message", (data) => {
      const { event } = JSON.parse(String(data)) as { event?: { resource: Record<string, string> } };
      announced.add(event?.resource["prefect.resource.id"] ?? "");
    });
    socket.send(JSON.stringify({ type: "filter", filter: scheduledIn(poolId) }));
    // The server may miss events while it sets up the subscription.
    await delay(sizes.settlingMs);
    const samples: number[] = [];
    // Round 0 warms up.
    for (let round = 0; round <= sizes.repeats; round++) {
      const createdAt = Date.now();
      const { id } = await api.createFlowRun(deployment);
      const isAnnounced = () => announced.has(`prefect.flow-run.${id}`);
      await waitFor(isAnnounced, { timeoutMs: 60_000, what: "the event of a flow run", intervalMs: 1 });
      await client.setState(id, "PENDING", "Pending");
      await client.setState(id, "PENDING", "Submitting");
      await client.setState(id, "RUNNING", "Running");
      const running = (await api.readStates(id)).find(({ type }) => type === "RUNNING");
      if (round > 0) samples.push(Date.parse(running?.timestamp ?? "") - createdAt);
      await api.setState(id, "COMPLETED");
    }
    return samples;
  } finally {
    socket.terminate();
  }
}

/** The filter of a worker's subscription, for scheduled flow runs. */
function scheduledIn(workPoolId: string): object {
  const [since, until] = [Date.now() - 1_000, Date.now() + 3_600_000].map((at) => new Date(at).toISOString());
  return {
    occurred: { since, until },
    event: { prefix: ["prefect.flow-run."] },
    resource: { labels: { "prefect.state-type": ["SCHEDULED"] } },
    any_resource: { id: [`prefect.work-pool.${workPoolId}`] },
    order: "ASC",
  };
}

/** Claims flow runs with so many clients side by side. Returns the accepted requests per second. */
async function claimPerSecond({ api, apiUrl, stop }: Bench, deployment: string, clients: number): Promise<number> {
  stop.throwIfAborted();
  const ids: string[] = [];
  for (let count = 0; count < clients * flowRunsPerClient; count++) ids.push((await api.createFlowRun(deployment)).id);
  const count = ids.length;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      using client = openClient(apiUrl);
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) await client.setState(id, "PENDING", "Pending");
    }),
  );
  return (count * 1000) / (performance.now() - startedAt);
}

interface BareClient extends Disposable {
  setState(id: string, type: string, name: string): Promise<void>;
}

/** One connection that is kept open. A busy SQLite answers 503. Requests that are repeated at once would keep it busy. */
function openClient(apiUrl: string): BareClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    async setState(id, type, name) {
      for (;;) {
        const sent = request(`${apiUrl}/flow_runs/${id}/set_state`, {
          method: "POST",
          agent,
          headers: { "content-type": "application/json" },
        });
        sent.end(JSON.stringify({ state: { type, name, message: null }, force: false }));
        const [response] = await once(sent, "response");
        const body = await text(response);
        if (response.statusCode === 503) {
          await delay(50 + Math.random() * 100);
          continue;
        }
        if (response.statusCode >= 300 || JSON.parse(body).status !== "ACCEPT") {
          throw new Error(`set_state ${name}: ${response.statusCode} ${body}`);
        }
        return;
      }
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}
