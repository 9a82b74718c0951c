// The Prometheus page of a worker. Loaded only where PREFECT_CLIENT_METRICS_ENABLED asks for it, since the library behind
// it takes time and memory that nobody else should spend. Source: prefect utilities/services.py, events/clients.py.
import http from "node:http";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { monotonicMs } from "../async/clock.ts";
import type { LatencyKind } from "../run/activity.ts";
import type { EventPublisher } from "../sockets/event-publisher.ts";
import { listenHttp } from "./listen-http.ts";
import type { Worker } from "./worker.ts";

/** What the page tells of. */
export interface MetricsSources {
  worker: Worker;
  eventPublisher: EventPublisher;
}

/** Seconds: the fast end is a claim by event, the slow end a worker that has been away. */
const latencyBuckets = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300];

/**
 * Serves the metrics on all interfaces, at any path, as the reference's library does. Disposing closes it. Throws when
 * the port cannot be listened on.
 */
export async function startMetricsServer(
  port: number,
  sources: MetricsSources,
): Promise<Disposable & { port: number }> {
  const registry = createRegistry(sources);
  const server = http.createServer(async (_request, response) => {
    response.writeHead(200, { "Content-Type": registry.contentType }).end(await registry.metrics());
  });
  return await listenHttp(server, { host: "0.0.0.0", port });
}

function createRegistry(sources: MetricsSources): Registry {
  const registry = new Registry();
  // Memory, processor time, open files and what Node.js knows of itself.
  collectDefaultMetrics({ register: registry });
  addMetricsOfTheReference(registry, sources);
  addCounters(registry, sources);
  addGauges(registry, sources);
  addLatencies(registry, sources);
  return registry;
}

/** Values by their labels' values, in the order of the label names. */
type Readings = Iterable<readonly [labels: readonly string[], value: number]>;

/** Adds a metric that is kept elsewhere and read when somebody asks. */
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

/** The same names and labels, the client called by what the reference would use there. */
function addMetricsOfTheReference(registry: Registry, { worker, eventPublisher }: MetricsSources): void {
  const { isCloud } = worker.api.address;
  const emitter = isCloud ? "PrefectCloudEventsClient" : "PrefectEventsClient";
  const subscriber = isCloud ? "PrefectCloudEventSubscriber" : "PrefectEventSubscriber";
  const add = (name: string, help: string, labelNames: string[], read: () => Readings): void =>
    counter(registry, `prefect_${name}_total`, help, labelNames, read);
  const connection = ["client", "direction", "connection"];
  add("events_emitted", "Events sent by the worker.", ["client"], () => [[[emitter], eventPublisher.emittedCount]]);
  add("events_observed", "Events the worker was told of.", ["client"], () => [
    [[subscriber], worker.eventCounts.observed],
  ]);
  add("event_websocket_connections", "Connections to /events/out.", connection, () => {
    const count = worker.eventCounts.connections;
    return [
      [[subscriber, "out", "initial"], Math.min(count, 1)],
      [[subscriber, "out", "reconnect"], Math.max(count - 1, 0)],
    ];
  });
  add("event_websocket_checkpoints", "Times the server was known to have read what was sent.", ["client"], () => [
    [[emitter], eventPublisher.checkpointCount],
  ]);
  // A worker reads no logs: these are there for dashboards that ask for them.
  add("logs_observed", "Log records the worker was told of.", ["client"], () => []);
  add("log_websocket_connections", "Connections to /logs/out.", connection, () => []);
}

function addCounters(registry: Registry, { worker }: MetricsSources): void {
  const { activity, api } = worker;
  counter(registry, "lictor_flow_runs_claimed_total", "Flow runs claimed.", [], () => [[[], activity.claimedCount]]);
  counter(registry, "lictor_flow_runs_ended_total", "Flow runs that left the worker, by state type.", ["state"], () =>
    [...activity.endedByType].map(([type, count]) => [[type.toLowerCase()], count] as const),
  );
  counter(
    registry,
    "lictor_flow_runs_unannounced_total",
    "Flow runs that a poll found although no event told of them.",
    [],
    () => [[[], worker.unannounced.count]],
  );
  counter(registry, "lictor_polls_repeated_total", "Polls repeated because no answer came.", [], () => [
    [[], worker.polls.hedge.repeatedCount],
  ]);
  counter(
    registry,
    "lictor_api_requests_total",
    "Attempts at API requests, by the status of the answer, or none where there was no answer.",
    ["method", "status"],
    () => [...api.attemptCounts].map(([outcome, count]) => [outcome.split(" "), count] as const),
  );
}

function addGauges(registry: Registry, { worker, eventPublisher }: MetricsSources): void {
  const secondsSince = (at: number): number => (monotonicMs() - at) / 1000;
  gauge(registry, "lictor_flow_runs_in_flight", "Flow runs in the worker's hands.", [], () => [
    [[], worker.inFlight.list().length],
  ]);
  gauge(registry, "lictor_poll_age_seconds", "Time since the last poll that was answered.", [], () => [
    [[], secondsSince(worker.lastPollAt)],
  ]);
  gauge(registry, "lictor_socket_connected", "1 while the socket is open, else 0.", ["socket"], () => [
    [["worker_channel"], Number(worker.channelHealthy)],
    [["events_out"], Number(worker.eventsConnected)],
    [["events_in"], Number(eventPublisher.isConnected)],
  ]);
  gauge(registry, "lictor_event_lag_seconds", "From the last event's occurrence to its arrival.", [], () =>
    worker.eventLagMs === undefined ? [] : [[[], worker.eventLagMs / 1000]],
  );
}

function addLatencies(registry: Registry, { worker }: MetricsSources): void {
  const histogram = (name: string, help: string): Histogram =>
    new Histogram({ name, help, buckets: latencyBuckets, registers: [registry] });
  const histograms: Readonly<Record<LatencyKind, Histogram>> = {
    claim: histogram("lictor_claim_latency_seconds", "From a flow run's due time until its claim was accepted."),
    running: histogram("lictor_running_latency_seconds", "From a flow run's due time until it was Running."),
  };
  worker.activity.onLatency = (kind, ms) => histograms[kind].observe(ms / 1000);
}
