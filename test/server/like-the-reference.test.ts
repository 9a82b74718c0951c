// The same deployments run by lictor and by the reference's worker on one server: what both leave there is compared.
import { dirname, join } from "node:path";
import { expect, inject, test } from "vitest";
import type { JsonObject, LogRecord } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import { type RunningProgram, startLictor } from "../support/lictor.ts";
import type { EventRecord, PrefectApi } from "../support/prefect-api.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { waitFor } from "../support/wait-for.ts";
import { newPool, sharedApi } from "./deployments.ts";

/** How flow runs end, and the deployments that get there. */
const outcomes: Readonly<Record<string, { entrypoint: string; jobVariables?: JsonObject }>> = {
  completed: { entrypoint: "hello.py:hello" },
  failed: { entrypoint: "fail.py:fail" },
  killed: { entrypoint: "kill_self.py:kill_self" },
  "exited with a code of its own": { entrypoint: "exit_three.py:exit_three" },
  "not loaded": { entrypoint: "nowhere.py:nothing" },
  "not started": { entrypoint: "hello.py:hello", jobVariables: { command: "/no/such/program" } },
  cancelled: { entrypoint: "sleep.py:sleep" },
};

/** Words that occur in nothing else, so that they can be masked. */
const names = { lictor: "own-worker", reference: "their-worker" } as const;
type WorkerName = (typeof names)[keyof typeof names];

/** What a flow run has left on the server, with what differs from run to run masked. */
interface Trace {
  states: [type: string, name: string, message: string | null][];
  labels: JsonObject;
  logs: string[];
  events: Pick<EventRecord, "event" | "resource" | "related">[];
}

test("flow runs leave the same states, labels, log records and events with both workers", async () => {
  needsPrefect("3.9.0", "the worker that lictor is like");
  const api = sharedApi();
  const pool = await newPool(api);
  const deployments = await deployAll(api, pool);
  for (const name of Object.values(names)) await api.createWorkQueue(pool, name);
  await using lictor = await start(pool, names.lictor);
  await using reference = await start(pool, names.reference);
  const [own, theirs] = await Promise.all([
    traceAll(api, deployments, names.lictor, lictor),
    traceAll(api, deployments, names.reference, reference),
  ]);
  expect(own).toEqual(withKnownDifferences(theirs));

  const ownEvents = await readWorkerEvents(api, names.lictor);
  expect(ownEvents).toHaveLength(2);
  expect(ownEvents).toEqual(await readWorkerEvents(api, names.reference));
}, 300_000);

/** Deployments of all outcomes, with everything that events tell of. */
async function deployAll(api: PrefectApi, pool: string): Promise<[outcome: string, deploymentId: string][]> {
  const deployments: [outcome: string, deploymentId: string][] = [];
  for (const [outcome, { entrypoint, jobVariables }] of Object.entries(outcomes)) {
    const id = await api.createDeployment({
      flowName: "like-the-reference",
      name: outcome,
      workPool: pool,
      path: inCheckout("test/fixtures/flows"),
      entrypoint,
      tags: ["of-the-deployment"],
      ...(jobVariables && { jobVariables }),
    });
    deployments.push([outcome, id]);
  }
  return deployments;
}

/** Both workers have two slots, so that the engines of seven flow runs do not start at once. */
async function start(pool: string, name: WorkerName): Promise<RunningProgram> {
  const python = inject("python");
  const args = ["worker", "start", "--pool", pool, "--name", name, "--work-queue", name, "--limit", "2"];
  const env = { PREFECT_API_URL: inject("apiUrl"), PREFECT_WORKER_QUERY_SECONDS: "2" };
  return name === names.lictor
    ? await startLictor([...args, "--python", python], { env })
    : await startLictor(args, { env, command: [join(dirname(python), "prefect")] });
}

async function traceAll(
  api: PrefectApi,
  deployments: [outcome: string, deploymentId: string][],
  name: WorkerName,
  worker: RunningProgram,
): Promise<Record<string, Trace>> {
  const runs: [outcome: string, id: string][] = [];
  // One by one: a server on SQLite refuses what comes all at once.
  for (const [outcome, deployment] of deployments) {
    const run = { name: "twin", tags: ["of-the-run"], workQueue: name };
    runs.push([outcome, (await api.createFlowRun(deployment, run)).id]);
  }
  await Promise.all(runs.map(([outcome, id]) => untilEnded(api, id, outcome === "cancelled")));
  worker.signal("SIGTERM");
  await worker.exited;
  const traces = runs.map(async ([outcome, id]) => [outcome, await trace(api, id, name)] as const);
  return Object.fromEntries(await Promise.all(traces));
}

async function untilEnded(api: PrefectApi, id: string, isToBeCancelled: boolean): Promise<void> {
  const state = async () => await api.readFlowRun(id);
  const slowly = { timeoutMs: 240_000, intervalMs: 500 };
  if (isToBeCancelled) {
    const isRunning = async () => (await state()).state_type === "RUNNING" && (await state()).infrastructure_pid;
    await waitFor(isRunning, { ...slowly, what: "the flow run to be Running" });
    // As early as this the engine's handler for the signal may not be armed yet.
    await waitFor(async () => (await api.readLogs(id)).some(({ message }) => message.startsWith("Beginning")), {
      ...slowly,
      what: "the engine's first record",
    });
    await api.setState(id, "CANCELLING");
  }
  const hasExecuted = async () => {
    const events = await readFlowRunEvents(api, id);
    // The reference's worker has nothing to say about an end if nothing was started.
    const wasStarted = !(await state()).state?.message?.startsWith("Flow run could not start");
    return !wasStarted || events.some(({ event }) => event === "prefect.worker.executed-flow-run");
  };
  const isFinal = async () => /COMPLETED|FAILED|CRASHED|CANCELLED/.test((await state()).state_type ?? "");
  await waitFor(async () => (await isFinal()) && (await hasExecuted()), { ...slowly, what: `the end of ${id}` });
}

const readFlowRunEvents = (api: PrefectApi, id: string) =>
  api.readEvents({
    any_resource: { id: [`prefect.flow-run.${id}`] },
    event: { prefix: ["prefect.worker.", "prefect.runner."] },
  });

async function trace(api: PrefectApi, id: string, worker: WorkerName): Promise<Trace> {
  const flowRun = (await api.readFlowRun(id)) as Awaited<ReturnType<PrefectApi["readFlowRun"]>> & {
    labels: JsonObject;
  };
  const mask = <Value>(value: Value): Value =>
    JSON.parse(
      JSON.stringify(value)
        .replaceAll(id, "<id>")
        .replaceAll(`"${flowRun.infrastructure_pid}"`, '"<pid>"')
        .replaceAll(worker, "<worker>"),
    ) as Value;
  const logs = (await api.readLogs(id)).filter(isOfTheRun).map(firstLine);
  // How soon a flow run is Late is the scheduler's affair.
  const states = (await api.readStates(id)).filter(({ name }) => name !== "Late");
  return mask({
    // Prefect's worker does not name its process and its host, neither here nor in the labels.
    states: states.map(({ type, name, message }) => [
      type,
      name,
      message?.startsWith("Claimed by ") ? null : (message ?? null),
    ]),
    labels: Object.fromEntries(Object.entries(flowRun.labels).filter(([label]) => !label.startsWith("lictor."))),
    logs: logs.sort(),
    events: (await readFlowRunEvents(api, id)).map(({ event, resource, related }) => ({ event, resource, related })),
  } satisfies Trace);
}

async function readWorkerEvents(api: PrefectApi, name: WorkerName) {
  const events = await api.readEvents({
    resource: { id: [`prefect.worker.process.${name}`] },
    event: { name: ["prefect.worker.started", "prefect.worker.stopped"] },
  });
  return events.map(({ event, resource, related, follows }) => ({
    event,
    resource: JSON.parse(JSON.stringify(resource).replaceAll(name, "<worker>")) as JsonObject,
    related,
    follows: follows !== null,
  }));
}

/** Both workers explain a death in words of their own; those of the state are compared. */
function isOfTheRun({ message }: LogRecord): boolean {
  return !/^(Check |Process exited|Reported flow run|Cancelled flow run|Downloading flow code)/.test(message);
}

/** Tracebacks name files and lines of the program. */
function firstLine({ name, level, message }: LogRecord): string {
  return `${name} ${level} ${message.split("\n")[0]}`;
}

/** Where lictor does it differently, on purpose. */
function withKnownDifferences(theirs: Record<string, Trace>): Record<string, Trace> {
  const text = JSON.stringify(theirs)
    // The system's reason instead of the name of a task group.
    .replace("unhandled errors in a TaskGroup (1 sub-exception)", "spawn /no/such/program ENOENT")
    // A word of the worker, not of the flow.
    .replace(
      "prefect.flow_runs 30 Runner failed to retrieve flow to execute on_crashed hooks for flow run UUID('<id>').",
      "prefect.flow_runs.worker 30 Runner failed to retrieve flow to execute on_crashed hooks for flow run '<id>'.",
    );
  const expected = JSON.parse(text) as Record<string, Trace>;
  for (const { logs } of Object.values(expected)) logs.sort();
  return expected;
}
