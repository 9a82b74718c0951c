// The Prometheus metrics of the program. Loaded only with PREFECT_CLIENT_METRICS_ENABLED, because the library takes
// time and memory. Source: prefect utilities/services.py, events/clients.py.
import http from "node:http";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";
import type { LatencyKind } from "../run/run-history.ts";
import type { EventPublisher } from "../sockets/event-publisher.ts";
import type { Worker } from "../worker/worker.ts";
import { listenHttp } from "./http-listener.ts";
import { readWatches } from "./read-status.ts";

/** The sources of the metrics. */
export interface MetricsSources {
  readonly isCloud: boolean;
  /** The number of attempts at API requests, by `<method> <status>`. */
  readonly attemptCounts: ReadonlyMap<string, number>;
  readonly workers: readonly Worker[];
  readonly eventPublisher: EventPublisher;
  readonly machine: { readonly problem: string | null };
  /** Gets the errors of the server. */
  readonly log: Logger;
}

/** Upper bounds in seconds, from a claim after an event to a worker that was offline. */
const latencyBuckets = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300];

/**
 * Serves the metrics on all interfaces at any path, like the reference's library. Returns the port. Disposing closes
 * the server. Throws the system's error if it cannot listen.
 */
export async function startMetricsServer(
  port: number,
  sources: MetricsSources,
): Promise<Disposable & { port: number }> {
  const registry = createRegistry(sources);
  const server = http.createServer(async (_request, response) => {
    // A failed scrape must not become an unhandled rejection, which would end the program.
    const text = await registry.metrics().catch((error: unknown) => error as Error);
    if (text instanceof Error) response.writeHead(500).end(`${text.message}\n`);
    else response.writeHead(200, { "Content-Type": registry.contentType }).end(text);
  });
  return await listenHttp(server, { host: "0.0.0.0", port, log: sources.log });
}

function createRegistry(sources: MetricsSources): Registry {
  const registry = new Registry();
  // Memory, processor time, open files and metrics of Node.js.
  collectDefaultMetrics({ register: registry });
  addReferenceMetrics(registry, sources);
  addCounters(registry, sources);
  addGauges(registry, sources);
  addLatencies(registry, sources);
  return registry;
}

/** Values with their label values, in the order of the label names. */
type Readings = Iterable<readonly [labels: readonly string[], value: number]>;

/** Adds a metric whose values are read at each scrape. */
type Add = (registry: Registry, name: string, help: string, labelNames: string[], read: () => Readings) => void;

const counter: Add = (registry, name, help, labelNames, read) => {
  new Counter({ name, help, labelNames, registers: [registry], collect: collectFrom(read) });
};

const gauge: Add = (registry, name, help, labelNames, read) => {
  new Gauge({ name, help, labelNames, registers: [registry], collect: collectFrom(read) });
};

function collectFrom(read: () => Readings): (this: Counter | Gauge) => void {
  return function () {
    this.reset();
    for (const [labels, value] of read()) this.labels(...labels).inc(value);
  };
}

/**
 * Adds metrics with the names and labels of the reference. The label `client` is the reference's class for that
 * purpose.
 */
function addReferenceMetrics(registry: Registry, sources: MetricsSources): void {
  const { isCloud, workers, eventPublisher } = sources;
  const emitter = isCloud ? "PrefectCloudEventsClient" : "PrefectEventsClient";
  const subscriber = isCloud ? "PrefectCloudEventSubscriber" : "PrefectEventSubscriber";
  const add = (name: string, help: string, labelNames: string[], read: () => Readings): void =>
    counter(registry, `prefect_${name}_total`, help, labelNames, read);
  const connection = ["client", "direction", "connection"];
  add("events_emitted", "Events sent by the worker.", ["client"], () => [[[emitter], eventPublisher.emittedCount]]);
  add("events_observed", "Events the worker received.", ["client"], () => [
    [[subscriber], sum(workers, ({ sockets }) => sockets.eventCount)],
  ]);
  add("event_websocket_connections", "Connections to /events/out.", connection, () => {
    const count = sum(workers, ({ sockets }) => sockets.eventConnections);
    const initial = sum(workers, ({ sockets }) => Math.min(sockets.eventConnections, 1));
    return [
      [[subscriber, "out", "initial"], initial],
      [[subscriber, "out", "reconnect"], count - initial],
    ];
  });
  add(
    "event_websocket_checkpoints",
    "Times the server confirmed that it had received all sent events.",
    ["client"],
    () => [[[emitter], eventPublisher.checkpointCount]],
  );
  // A worker reads no logs. These metrics exist for dashboards that expect them.
  add("logs_observed", "Log records the worker received.", ["client"], () => []);
  add("log_websocket_connections", "Connections to /logs/out.", connection, () => []);
}

function sum(workers: readonly Worker[], of: (worker: Worker) => number): number {
  return workers.reduce((total, worker) => total + of(worker), 0);
}

/** Returns one value per worker, labelled with the name of its work pool. */
function byPool(workers: readonly Worker[], of: (worker: Worker) => number | undefined): Readings {
  return workers.flatMap((worker) => {
    const value = of(worker);
    return value === undefined ? [] : [[[worker.options.workPoolName], value] as const];
  });
}

const pool = "work_pool";

function addCounters(registry: Registry, { workers, attemptCounts }: MetricsSources): void {
  counter(registry, "lictor_flow_runs_claimed_total", "Flow runs claimed.", [pool], () =>
    byPool(workers, ({ history }) => history.claimedCount),
  );
  counter(
    registry,
    "lictor_flow_runs_ended_total",
    "Flow runs that left the worker, by state type.",
    [pool, "state"],
    () => workers.flatMap(readEnds),
  );
  counter(
    registry,
    "lictor_flow_runs_unannounced_total",
    "Flow runs that a poll found although no event had announced them.",
    [pool],
    () => byPool(workers, ({ polling }) => polling.unannouncedCount),
  );
  counter(registry, "lictor_polls_repeated_total", "Polls repeated because no response came in time.", [pool], () =>
    byPool(workers, ({ polling }) => polling.polls.hedge.repeatedCount),
  );
  counter(
    registry,
    "lictor_api_requests_total",
    "Attempts at API requests, by the status of the response, or none if there was no response.",
    ["method", "status"],
    () => [...attemptCounts].map(([outcome, count]) => [outcome.split(" "), count] as const),
  );
}

function readEnds({ runs, history, options }: Worker): [string[], number][] {
  runs.settle();
  return [...history.endedByType].map(([type, count]) => [[options.workPoolName, type.toLowerCase()], count]);
}

function addGauges(registry: Registry, { workers, eventPublisher, machine }: MetricsSources): void {
  const secondsSince = (at: number): number => (monotonicMs() - at) / 1000;
  gauge(registry, "lictor_flow_runs_in_flight", "Flow runs in flight.", [pool], () =>
    byPool(workers, ({ runs }) => runs.list().length),
  );
  gauge(registry, "lictor_poll_age_seconds", "Time since the last successful poll.", [pool], () =>
    byPool(workers, ({ polling }) => secondsSince(polling.answeredAt)),
  );
  gauge(registry, "lictor_socket_connected", "1 while the socket is open, else 0.", ["socket", pool], () => [
    ...workers.flatMap(({ sockets, options: { workPoolName } }): [string[], number][] => [
      [["worker_channel", workPoolName], Number(sockets.channelHealthy)],
      [["events_out", workPoolName], Number(sockets.eventsConnected)],
    ]),
    [["events_in", ""], Number(eventPublisher.isConnected)] as const,
  ]);
  gauge(registry, "lictor_machine_problem", "1 while this machine cannot start flow runs, else 0.", [], () => [
    [[], Number(machine.problem !== null)],
  ]);
  gauge(registry, "lictor_watch_age_seconds", "Time since the last sign of life of a watch.", ["watch"], () =>
    readWatches(workers).flatMap(({ name, ageMs }) => (ageMs === null ? [] : [[[name], ageMs / 1000] as const])),
  );
  gauge(registry, "lictor_event_lag_seconds", "From the last event's occurrence to its arrival.", [pool], () =>
    byPool(workers, ({ sockets: { eventLagMs } }) => (eventLagMs === undefined ? undefined : eventLagMs / 1000)),
  );
}

function addLatencies(registry: Registry, { workers }: MetricsSources): void {
  const histogram = (name: string, help: string): Histogram =>
    new Histogram({ name, help, labelNames: [pool], buckets: latencyBuckets, registers: [registry] });
  const histograms: Readonly<Record<LatencyKind, Histogram>> = {
    claim: histogram("lictor_claim_latency_seconds", "From a flow run's due time until its claim was accepted."),
    running: histogram("lictor_running_latency_seconds", "From a flow run's due time until it was Running."),
  };
  for (const { history, options } of workers) {
    history.onLatency = (kind, ms) => histograms[kind].labels(options.workPoolName).observe(ms / 1000);
  }
}
