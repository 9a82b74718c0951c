// Programs without Prefect in Jobs: what the worker reports about them.
import { describe, expect, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import type { Execution } from "../../src/infrastructure/execution.ts";
import type { ContainerStatus, JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import type { OutputLine } from "../../src/process/output-files.ts";
import type { ReportRules } from "../../src/program/program.ts";
import { applyRules } from "../../src/run/begin.ts";
import { watch } from "../../src/run/watch.ts";
import * as good from "../support/api-answers.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  completeJob,
  type FakePool,
  failedJob,
  openFakePool,
  running,
  soon,
  terminated,
  workPoolId,
} from "./fake-kubernetes-pool.ts";
import { openReportedRun, type ReportedRun } from "./reported-run.ts";

const pending = {
  ...good.goodState,
  type: "PENDING",
  name: "Pending",
  state_details: { transition_id: "ours" },
} as never as State;
const rules: ReportRules = { timeoutSeconds: null, retries: null, retryDelaySeconds: null };

interface Started extends AsyncDisposable {
  pool: FakePool;
  reported: ReportedRun;
  execution: Execution;
  job: JobObject;
  /** Returns when the end is reported. */
  watched: Promise<void>;
}

/**
 * Starts a program in a Job, and watches it as a worker does. With `adoptedSince`, in ms since 1970, another worker created the Job
 * then, and has died.
 */
async function start(variables = {}, given: ReportRules = rules, adoptedSince?: number): Promise<Started> {
  const pool = await openFakePool();
  const reported = await openReportedRun([pending]);
  const { run, worker } = reported;
  applyRules(worker, run, given);
  if (adoptedSince === undefined) run.startedAt = monotonicMs();
  else run.beganAt = adoptedSince;
  const options = { ...pool.options, onLine: (line: OutputLine) => run.lines?.add(line) };
  const job = await pool.jobOf({ reporter: "worker", command: "import", stream_output: false, ...variables });
  const execution = await pool.infrastructure.start(job, options);
  await pool.watched();
  return {
    pool,
    reported,
    execution,
    job: await pool.job(),
    watched: watch(worker, run, execution),
    async [Symbol.asyncDispose]() {
      await execution[Symbol.asyncDispose]();
      await reported[Symbol.asyncDispose]();
      await pool[Symbol.asyncDispose]();
    },
  };
}

const withMessage = (status: ContainerStatus, message: string): ContainerStatus => ({
  ...status,
  state: { terminated: { ...status.state?.terminated, message } as never },
});

describe("a program in a Job", { timeout: 120_000 }, () => {
  test.each<[string, JobObject["status"], PodObject["status"], string[], RegExp | null]>([
    [
      "that exits with 0 is Completed",
      completeJob,
      { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] },
      ["RUNNING", "COMPLETED"],
      null,
    ],
    [
      "that exits with another code is Failed, with its last lines",
      failedJob,
      { phase: "Failed", containerStatuses: [terminated(3, "Error")] },
      ["RUNNING", "FAILED"],
      /status code: 3\..* Its last lines:\nno such day$/s,
    ],
    [
      "that writes a result has its message",
      failedJob,
      { phase: "Failed", containerStatuses: [withMessage(terminated(3, "Error"), '{"message": "no such day"}')] },
      ["RUNNING", "FAILED"],
      /^no such day$/,
    ],
    [
      "that uses too much memory is Crashed, whatever its code",
      failedJob,
      { phase: "Failed", containerStatuses: [terminated(1, "OOMKilled")] },
      ["RUNNING", "CRASHED"],
      /OOMKilled/,
    ],
    [
      "that is evicted is Crashed, whatever its code",
      failedJob,
      { phase: "Failed", reason: "Evicted", containerStatuses: [terminated(1, "Error")] },
      ["RUNNING", "CRASHED"],
      /evicted/,
    ],
  ])("%s", async (_, jobStatus, podStatus, types, message) => {
    await using started = await start();
    const { pool, job, reported, watched } = started;
    expect(reported.proposed()).toEqual([]);
    pool.cluster.logs.set(`${job.metadata.name}-pod`, "2026-01-01T00:00:01.5Z no such day\n");
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await waitFor(() => reported.proposed().length === 1, { ...soon, what: "Running" });
    pool.putPod(job, podStatus ?? {});
    pool.putJobStatus(job, jobStatus ?? {});
    await watched;
    expect(reported.proposed()).toEqual(types);
    if (message) expect(reported.messages().at(-1)).toMatch(message);
    expect(pool.lines).toEqual([]);
  });

  test("that cannot be started is Crashed, and never Running", async () => {
    await using started = await start();
    const { pool, job, reported, watched } = started;
    const status = withMessage(terminated(128, "StartError"), "exec: not found in $PATH");
    pool.putPod(job, { phase: "Failed", containerStatuses: [status] });
    pool.putJobStatus(job, failedJob);
    await watched;
    expect(reported.proposed()).toEqual(["CRASHED"]);
    expect(reported.messages()[0]).toContain("not found in $PATH");
  });

  test("that runs for too long is TimedOut, and loses its Job", async () => {
    await using started = await start({}, { ...rules, timeoutSeconds: 1 });
    const { pool, job, reported, watched } = started;
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await watched;
    expect(reported.proposed()).toEqual(["RUNNING", "FAILED"]);
    expect(reported.messages().at(-1)).toMatch(/timeout of 1/);
    expect(await pool.jobs()).toEqual([]);
  });

  test("whose pod waited for a node before it was adopted has its whole time", async () => {
    await using started = await start({}, { ...rules, timeoutSeconds: 30 }, Date.now() - 60_000);
    const { pool, job, reported, watched } = started;
    const startedAt = new Date().toISOString();
    pool.putPod(job, { phase: "Running", containerStatuses: [{ ...running, state: { running: { startedAt } } }] });
    await waitFor(() => reported.proposed().length === 1, { ...soon, what: "Running" });
    pool.putPod(job, { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] });
    pool.putJobStatus(job, completeJob);
    await watched;
    expect(reported.proposed()).toEqual(["RUNNING", "COMPLETED"]);
  });

  test("that has used up its time before it was adopted is TimedOut", async () => {
    await using started = await start({}, { ...rules, timeoutSeconds: 30 }, Date.now() - 90_000);
    const { pool, job, reported, watched } = started;
    const startedAt = new Date(Date.now() - 60_000).toISOString();
    pool.putPod(job, { phase: "Running", containerStatuses: [{ ...running, state: { running: { startedAt } } }] });
    await watched;
    expect(reported.messages().at(-1)).toMatch(/timeout of 30/);
  });

  test("that ended in time is not TimedOut although the news of its end is late", async () => {
    await using started = await start({}, { ...rules, timeoutSeconds: 2 });
    const { pool, job, reported, watched } = started;
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await waitFor(() => reported.proposed().length === 1, { ...soon, what: "Running" });
    pool.cluster.isSilent = true;
    pool.putPod(job, { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] });
    pool.putJobStatus(job, completeJob);
    await watched;
    expect(reported.proposed()).toEqual(["RUNNING", "COMPLETED"]);
    expect(await pool.jobs()).toHaveLength(1);
  });

  test("whose Job is gone before its end was seen has the end of its pod", async () => {
    await using started = await start();
    const { pool, job, reported, watched } = started;
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await waitFor(() => reported.proposed().length === 1, { ...soon, what: "Running" });
    pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(3, "Error")] });
    pool.cluster.remove("jobs", "default", job.metadata.name);
    await watched;
    expect(reported.proposed()).toEqual(["RUNNING", "FAILED"]);
  });

  test("is known as such without a journal", async () => {
    await using started = await start({ timeout_seconds: 60 });
    const { pool, execution } = started;
    await using next = await pool.reopen();
    const find = async () => (await next.infrastructure.findStarted(workPoolId, { namespace: "default" }))[0];
    await waitFor(async () => (await find()) !== undefined, { ...soon, what: "the Job" });
    expect(await find()).toMatchObject({
      handle: { identifier: execution.handle.identifier },
      rules: { timeoutSeconds: 60 },
    });
  });
});
