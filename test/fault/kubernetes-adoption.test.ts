// What becomes of the Jobs of dead workers: with a journal, and without.
import { describe, expect, test } from "vitest";
import type { JobObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  completeJob,
  type FakePool,
  failedJob,
  flowRunId,
  kubeconfigOf,
  openFakePool,
  running,
  soon,
  terminated,
  waiting,
  workPoolId,
} from "./fake-kubernetes-pool.ts";

/** A Job that a worker has created and left, and the handles that this worker stored. */
async function leaveJob(pool: FakePool): Promise<JobObject> {
  const before = await pool.reopen();
  await (await before.infrastructure.start(await before.jobOf(), before.options))[Symbol.asyncDispose]();
  pool.handles.push(...before.handles);
  await before[Symbol.asyncDispose]();
  return await pool.job();
}

const [beforeCreation, afterCreation] = [0, 1];
const handleOf = (pool: FakePool, index: number) => {
  const handle = pool.handles[index];
  if (!handle) throw new Error("there is no handle");
  return handle;
};

describe("the next worker", () => {
  test.each([
    ["after the creation", afterCreation],
    ["before the journal knew of it", beforeCreation],
  ])("continues a Job whose worker died %s", async (_, index) => {
    await using pool = await openFakePool();
    const job = await leaveJob(pool);
    await using execution = await pool.infrastructure.adopt(handleOf(pool, index), pool.options);
    expect(execution?.handle).toMatchObject({
      identifier: `default:${job.metadata.name}`,
      proof: { jobUid: job.metadata.uid, attempt: ["ours"] },
    });
    await pool.watched();
    pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(7, "Error")] });
    pool.putJobStatus(job, failedJob);
    expect(await execution?.ended).toMatchObject({ kind: "exited", status: 7 });
  });

  test("learns how a Job ended while no worker watched it", async () => {
    await using pool = await openFakePool();
    const job = await leaveJob(pool);
    pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(137, "OOMKilled")] });
    pool.putJobStatus(job, failedJob);
    await using execution = await pool.infrastructure.adopt(handleOf(pool, afterCreation), pool.options);
    expect(await execution?.ended).toMatchObject({ status: 137, why: expect.stringContaining("OOMKilled") });
  });

  test.each([
    ["was deleted", afterCreation, true],
    ["was never created", beforeCreation, false],
  ])("knows whether a Job that %s may have begun", async (_, index, mayHaveBegun) => {
    await using pool = await openFakePool();
    const job = await leaveJob(pool);
    pool.cluster.remove("jobs", "default", job.metadata.name);
    await using execution = await pool.infrastructure.adopt(handleOf(pool, index), pool.options);
    expect(await execution?.ended).toMatchObject({ kind: "gone", mayHaveBegun });
  });

  test.each([
    ["had a pod", "SuccessfulCreate", true],
    ["had none", "SuccessfulDelete", false],
  ])("asks the events whether a Job of a program that it did not know of %s", async (_, reason, mayHaveBegun) => {
    await using pool = await openFakePool();
    const { metadata } = await leaveJob(pool);
    pool.cluster.remove("jobs", "default", metadata.name);
    const involvedObject = { kind: "Job", name: metadata.name, uid: metadata.uid };
    pool.cluster.put("events", { metadata: { name: "seen", namespace: "default" }, involvedObject, reason } as never);
    const options = { ...pool.options, onLine: () => undefined };
    await using execution = await pool.infrastructure.adopt(handleOf(pool, beforeCreation), options);
    expect(await execution?.ended).toMatchObject({ kind: "gone", mayHaveBegun });
  });

  test("does not take another Job of the same name for the one that was created", async () => {
    await using pool = await openFakePool();
    const job = await leaveJob(pool);
    pool.cluster.remove("jobs", "default", job.metadata.name);
    const { uid: _, ...metadata } = job.metadata;
    pool.cluster.put("jobs", { ...job, metadata } as never);
    await using execution = await pool.infrastructure.adopt(handleOf(pool, afterCreation), pool.options);
    expect(await execution?.ended).toMatchObject({ kind: "gone" });
  });

  test("leaves a Job of another cluster alone, with one warning", async () => {
    await using pool = await openFakePool();
    await leaveJob(pool);
    await using other = await openFakePool();
    const handle = handleOf(pool, afterCreation);
    const elsewhere = { ...handle, proof: { ...handle.proof, clusterUid: "another" } };
    expect(await other.infrastructure.adopt(elsewhere, other.options)).toBeNull();
    expect(other.logs()).toEqual([
      expect.stringMatching(/^The cluster at .* is not the one that the flow run was started in/),
    ]);
    // The end that an earlier worker saw is still to be reported.
    expect(await other.infrastructure.adopt(elsewhere, { ...other.options, hasEnded: true })).not.toBeNull();
  });

  test("waits for a cluster that is away", async () => {
    await using pool = await openFakePool();
    await leaveJob(pool);
    await pool.cluster.stop();
    const adopted = pool.infrastructure.adopt(handleOf(pool, afterCreation), pool.options);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await pool.cluster.start();
    await using execution = await adopted;
    expect(execution?.handle.identifier).not.toBe("");
  }, 20_000);
});

test("two workers that continue the same Job see the same end", async () => {
  await using pool = await openFakePool();
  const job = await leaveJob(pool);
  await using other = await pool.reopen();
  const handle = handleOf(pool, afterCreation);
  await using one = await pool.infrastructure.adopt(handle, pool.options);
  await using two = await other.infrastructure.adopt(handle, other.options);
  await waitFor(() => pool.cluster.watches().length >= 4, { ...soon, what: "the watches of both" });
  pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(7, "Error")] });
  pool.putJobStatus(job, failedJob);
  const ends = await Promise.all([one?.ended, two?.ended]);
  expect(ends[1]).toEqual(ends[0]);
  const ids = (events: FakePool["events"]) => new Set(events.map(({ id }) => id));
  expect(ids(other.events)).toEqual(ids(pool.events));
});

describe("without a journal", () => {
  test("Jobs are found by their labels, ended ones once, and only those of the work pool", async () => {
    await using pool = await openFakePool();
    const job = await leaveJob(pool);
    const find = async () => await pool.infrastructure.findStarted(workPoolId, { namespace: "default" });
    const expected = {
      flowRunId,
      instance: "",
      workerName: "w",
      proposals: ["ours"],
      mayHaveBegun: false,
      handle: { identifier: `default:${job.metadata.name}`, proof: { jobUid: job.metadata.uid } },
    };
    expect(await find()).toMatchObject([expected]);
    expect(await find()).toMatchObject([expected]);
    expect(await pool.infrastructure.findStarted("another", { namespace: "default" })).toEqual([]);
    await pool.watched();
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await waitFor(async () => (await find())[0]?.mayHaveBegun === true, { ...soon, what: "the start" });
    pool.putJobStatus(job, completeJob);
    await waitFor(async () => (await find()).length === 0, { ...soon, what: "the end" });
  });

  test("the namespaces of the settings are looked at, too", async () => {
    await using pool = await openFakePool({ PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES: "a, b" });
    await pool.infrastructure.findStarted(workPoolId, { namespace: "of-pool" });
    await waitFor(() => pool.cluster.watches().length === 6, { ...soon, what: "the watches" });
    expect(pool.cluster.watches()).toEqual(["jobs/a", "jobs/b", "jobs/of-pool", "pods/a", "pods/b", "pods/of-pool"]);
    // Another work pool shares them.
    await pool.infrastructure.findStarted("another", { namespace: "a" });
    expect(pool.cluster.watches()).toHaveLength(6);
  });

  test("the cluster of the work pool's block is looked at, and not the usual one", async () => {
    await using pool = await openFakePool();
    await using other = await openFakePool();
    const cluster_config = { config: kubeconfigOf(other.cluster), context_name: "fake" };
    await pool.infrastructure.findStarted(workPoolId, { cluster_config });
    await other.watched();
    expect(pool.cluster.watches()).toEqual([]);
    const job = await pool.jobOf({ cluster_config });
    await using execution = await pool.infrastructure.start(job, pool.options);
    expect(execution.handle.proof).toMatchObject({ hasBlock: true });
    const find = async () => (await pool.infrastructure.findStarted(workPoolId, { cluster_config }))[0];
    await waitFor(async () => (await find())?.handle.identifier === execution.handle.identifier, {
      ...soon,
      what: "the Job",
    });
    // The journal has no credentials, so the job is read for them.
    await using next = await pool.reopen();
    const options = { ...next.options, readJob: async () => job };
    await using adopted = await next.infrastructure.adopt(handleOf(pool, afterCreation), options);
    expect(adopted?.handle.identifier).toBe(execution.handle.identifier);
    const identifier = { poolType: "kubernetes", identifier: execution.handle.identifier, proof: { flowRunId } };
    expect(await pool.infrastructure.findAbandoned(identifier)).not.toBeNull();
  });

  test("a Job that has not begun can be discarded, one that has begun cannot", async () => {
    await using pool = await openFakePool();
    const job = await leaveJob(pool);
    const find = async () => (await pool.infrastructure.findStarted(workPoolId, {}))[0];
    const program = await find();
    if (!program) throw new Error("there is no program");
    await pool.watched();
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await waitFor(async () => (await find())?.mayHaveBegun, { ...soon, what: "the start" });
    await pool.infrastructure.discard?.(program);
    expect(await pool.jobs()).toHaveLength(1);
    pool.putPod(job, { phase: "Pending", containerStatuses: [waiting("ImagePullBackOff")] });
    await waitFor(async () => (await find())?.mayHaveBegun === false, { ...soon, what: "the wait" });
    await pool.infrastructure.discard?.(program);
    expect(await pool.jobs()).toEqual([]);
  });
});
