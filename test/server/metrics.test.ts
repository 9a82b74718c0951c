// The Prometheus page: the reference's names, and lictor's own figures after real flow runs.
import { dirname, join } from "node:path";
import { expect, inject, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import { runLictor, startLictor } from "../support/lictor.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const soon = { timeoutMs: 60_000 };
const metricsAt = (port: number) => ({
  PREFECT_CLIENT_METRICS_ENABLED: "true",
  PREFECT_CLIENT_METRICS_PORT: String(port),
});

async function tryReadPage(port: number, path = "/metrics"): Promise<string | undefined> {
  return await fetch(`http://127.0.0.1:${port}${path}`).then(
    (answer) => answer.text(),
    () => undefined,
  );
}

/** The value of one time series; labels in the order of the page. Undefined if it is not there. */
function readSeries(page: string, series: string): number | undefined {
  const line = page.split("\n").find((found) => found.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

/** The metrics that a page declares under the reference's name, each with its type. */
function declared(page: string): string[] {
  const lines = page.match(/^# TYPE prefect_\S+ \S+$/gm) ?? [];
  // When a counter was made is a metric of its own to Python's library.
  return lines.filter((line) => !line.includes("_created")).sort();
}

test("has the metrics of the reference's worker, by name and type", async () => {
  needsPrefect("3.9.0", "the worker that lictor is like");
  const api = sharedApi();
  const [pool, theirPort, ownPort] = [await newPool(api), await findFreePort(), await findFreePort()];
  await using _reference = await startLictor(["worker", "start", "--pool", pool], {
    command: [join(dirname(inject("python")), "prefect")],
    env: { PREFECT_API_URL: inject("apiUrl"), ...metricsAt(theirPort) },
  });
  await using _own = await startWorker(pool, { apiUrl: inject("apiUrl"), env: metricsAt(ownPort) });
  const theirs = await waitFor(() => tryReadPage(theirPort), { ...soon, what: "the reference's page" });
  const own = (await tryReadPage(ownPort)) ?? "";
  expect(declared(theirs).length).toBeGreaterThan(3);
  expect(declared(own)).toEqual(declared(theirs));
  for (const ofProcess of ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"]) {
    expect(theirs).toContain(`# TYPE ${ofProcess} `);
    expect(readSeries(own, ofProcess)).toBeGreaterThan(0);
  }
});

test("tells of claims, ends, latencies, sockets, polls and requests", async () => {
  needsPrefect("3.7.2", "the worker channel");
  const api = sharedApi();
  const [pool, port] = [await newPool(api), await findFreePort()];
  await using proxy = await startReverseProxy(inject("apiUrl"));
  await using _worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: metricsAt(port) });
  const read = async () => (await tryReadPage(port, "/")) ?? "";
  const own = (name: string, label = "") => `${name}{${label}work_pool="${pool}"}`;
  const all = `${own("lictor_socket_connected", 'socket="worker_channel",')} 1`;
  await waitFor(async () => (await read()).includes(all), { ...soon, what: "the worker channel" });
  expect(readSeries(await read(), own("lictor_flow_runs_claimed_total"))).toBe(0);

  // What the proxy sees is to be the worker's alone.
  const env = { PREFECT_API_URL: inject("apiUrl") };
  const finished = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { env } }));
  const crashed = await api.createFlowRun(
    await deploy(api, pool, "hello", { jobVariables: { command: "/no/such/program" } }),
  );
  await api.waitForState(finished.id, ["COMPLETED"], soon.timeoutMs);
  await api.waitForState(crashed.id, ["CRASHED"], soon.timeoutMs);
  const bothEnded = async () => {
    const page = await read();
    const ends = ["completed", "crashed"].map((state) =>
      readSeries(page, `lictor_flow_runs_ended_total{work_pool="${pool}",state="${state}"}`),
    );
    // started, and submitted twice, and executed once: what was not started was not executed either.
    const emitted = readSeries(page, 'prefect_events_emitted_total{client="PrefectEventsClient"}');
    return ends.join() === "1,1" && emitted === 4 && page;
  };
  const page = await waitFor(bothEnded, { ...soon, what: "one completed and one crashed flow run, and four events" });

  expect(readSeries(page, own("lictor_flow_runs_claimed_total"))).toBe(2);
  expect(readSeries(page, own("lictor_flow_runs_in_flight"))).toBe(0);
  expect(readSeries(page, own("lictor_claim_latency_seconds_count"))).toBe(2);
  expect(readSeries(page, own("lictor_running_latency_seconds_count"))).toBe(1);
  expect(readSeries(page, own("lictor_running_latency_seconds_sum"))).toBeGreaterThan(0);
  expect(readSeries(page, own("lictor_event_lag_seconds"))).toBeGreaterThan(0);
  expect(readSeries(page, own("lictor_poll_age_seconds"))).toBeLessThan(20);
  const sockets = ["worker_channel", "events_out"].map((socket) => `socket="${socket}",`);
  const states = [
    ...sockets.map((socket) => readSeries(page, own("lictor_socket_connected", socket))),
    readSeries(page, 'lictor_socket_connected{socket="events_in",work_pool=""}'),
  ];
  expect(states).toEqual([1, 1, 1]);

  const requests = [...page.matchAll(/^lictor_api_requests_total\{method="(\w+)",status="(\w+)"\} (\d+)$/gm)];
  const counted = requests.reduce((sum, [, , , count]) => sum + Number(count), 0);
  const seen = () => proxy.requests.filter(({ method }) => method !== "UPGRADE").length;
  expect(counted).toBeGreaterThan(10);
  // A request may be on its way while the page is read.
  expect(Math.abs(seen() - counted)).toBeLessThan(5);
  expect(readSeries(page, 'prefect_event_websocket_checkpoints_total{client="PrefectEventsClient"}')).toBeGreaterThan(
    0,
  );
  const connections = "prefect_event_websocket_connections_total";
  const initial = `${connections}{client="PrefectEventSubscriber",direction="out",connection="initial"}`;
  expect(readSeries(page, initial)).toBe(1);
  const observed = readSeries(page, 'prefect_events_observed_total{client="PrefectEventSubscriber"}');
  // Scheduled twice, Running, and the end that was counted above at least once.
  expect(observed).toBeGreaterThanOrEqual(4);
});

test("a port that is taken ends the worker with one line that says which setting to change", async () => {
  const [pool, port] = [await newPool(sharedApi()), await findFreePort()];
  await using _first = await startWorker(pool, { apiUrl: inject("apiUrl"), env: metricsAt(port) });
  const second = await runLictor(["worker", "start", "--pool", pool], {
    env: { PREFECT_API_URL: inject("apiUrl"), ...metricsAt(port) },
  });
  expect(second.code).toBe(1);
  expect(second.stderr).toContain(
    `The metrics server cannot listen on port ${port} (EADDRINUSE). Set PREFECT_CLIENT_METRICS_PORT.`,
  );
  expect(second.stderr).not.toMatch(/^\s+at /m);
});
