// How flow runs end in Jobs, and what is reported meanwhile.
import { describe, expect, test } from "vitest";
import type { JobObject, PodObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  completeJob,
  type FakePool,
  failedJob,
  flowRunId,
  openFakePool,
  running,
  soon,
  terminated,
  waiting,
} from "./fake-kubernetes-pool.ts";
import { missing } from "./kubernetes-answers.ts";
import { untilTheEnd } from "./test-socket.ts";

const limits = { kill: untilTheEnd, leave: untilTheEnd };

/** Starts a flow run and returns its execution and its Job. */
async function start(pool: FakePool, variables = {}) {
  const execution = await pool.infrastructure.start(await pool.jobOf(variables), pool.options);
  return { execution, job: await pool.job() };
}

/** Opens a pool and starts a flow run in it. Returns when its Job is watched. */
async function startWatched() {
  const pool = await openFakePool();
  const { execution, job } = await start(pool);
  await pool.watched();
  return {
    ...{ pool, execution, job },
    async [Symbol.asyncDispose]() {
      await execution[Symbol.asyncDispose]();
      await pool[Symbol.asyncDispose]();
    },
  };
}

describe("a Job", () => {
  test("is created once, and named in the journal before that", async () => {
    await using pool = await openFakePool();
    const { execution, job } = await start(pool);
    await using _execution = execution;
    expect(execution.handle.identifier).toBe(`default:${job.metadata.name}`);
    expect(
      pool.handles.map(({ identifier, proof }) => [identifier, proof.name, proof.jobUid, proof.clusterUid]),
    ).toEqual([
      ["", job.metadata.name, null, "uid-of-cluster"],
      [execution.handle.identifier, job.metadata.name, job.metadata.uid, "uid-of-cluster"],
    ]);
    expect(pool.logs()).toEqual([
      "Creating Kubernetes job...",
      `Kubernetes job '${job.metadata.name}' created in namespace 'default'`,
    ]);
  });

  test.each<[string, NonNullable<JobObject["status"]>, NonNullable<PodObject["status"]>, object]>([
    [
      "succeeds",
      completeJob,
      { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] },
      { kind: "exited", status: 0 },
    ],
    [
      "fails",
      failedJob,
      { phase: "Failed", containerStatuses: [terminated(3, "Error")] },
      {
        kind: "exited",
        status: 3,
        why: expect.stringMatching(/Pod '.*-pod' on node 'node-1' ended with exit code 3 \(Error\)/),
      },
    ],
    [
      "uses too much memory",
      failedJob,
      { phase: "Failed", containerStatuses: [terminated(137, "OOMKilled")] },
      { kind: "exited", status: 137, why: expect.stringContaining("OOMKilled") },
    ],
    [
      "is evicted",
      failedJob,
      { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory." },
      { kind: "gone", why: expect.stringContaining("low on resource") },
    ],
    [
      "takes too long",
      { failed: 1, conditions: [{ type: "Failed", status: "True", reason: "DeadlineExceeded", message: "too long" }] },
      { phase: "Failed", containerStatuses: [terminated(143, "Error")] },
      { kind: "exited", status: 143, why: expect.stringContaining("DeadlineExceeded") },
    ],
  ])("that %s has that end", async (_, jobStatus, podStatus, ending) => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await execution.started;
    pool.putPod(job, podStatus);
    pool.putJobStatus(job, jobStatus);
    expect(await execution.ended).toMatchObject(ending);
  });

  test("has the end of its pod although the watch of pods is behind", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putJobStatus(job, failedJob);
    pool.cluster.isSilent = true;
    pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(9, "Error")] });
    expect(await execution.ended).toMatchObject({ status: 9 });
  });

  test("that is deleted is gone, and its pod says the rest", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await execution.started;
    pool.cluster.remove("jobs", "default", job.metadata.name);
    expect(await execution.ended).toMatchObject({
      kind: "gone",
      mayHaveBegun: true,
      why: expect.stringMatching(/^The Kubernetes Job was deleted\. Pod '.*' on node 'node-1' has no exit code/),
    });
  });

  test.each<[string, (pool: FakePool, job: JobObject) => void, object]>([
    // Seen with Kubernetes 1.34: a pod counts as failed once it is told to end.
    ["counts as failed", (pool, job) => pool.putJobStatus(job, { failed: 1, terminating: 1 }), { status: 5 }],
    [
      "is deleted",
      (pool, job) => pool.cluster.remove("jobs", "default", job.metadata.name),
      { why: expect.stringContaining("exit code 5") },
    ],
  ])(
    "that %s while its pod uses its grace time has not ended",
    async (_, end, ending) => {
      await using started = await startWatched();
      const { pool, execution, job } = started;
      pool.putPod(job, { phase: "Running", containerStatuses: [running] });
      await execution.started;
      const evicting: NonNullable<PodObject["status"]> = { phase: "Running", containerStatuses: [running] };
      pool.putPod(job, evicting, { deletionGracePeriodSeconds: 30 });
      end(pool, job);
      const longerThanLagMs = 6_000;
      await new Promise((resolve) => setTimeout(resolve, longerThanLagMs));
      const notYet = Symbol("not yet");
      expect(await Promise.race([execution.ended, Promise.resolve(notYet)])).toBe(notYet);
      pool.putPod(
        job,
        { phase: "Failed", containerStatuses: [terminated(5, "Error")] },
        { deletionGracePeriodSeconds: 30 },
      );
      expect(await execution.ended).toMatchObject(ending);
    },
    20_000,
  );

  test.each([
    ["before its end was told to end", true],
    ["after its end was not told to end", false],
  ])("whose pod is deleted %s", async (_, isBefore) => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    const deletion = { deletionGracePeriodSeconds: 30 };
    pool.putPod(job, { phase: "Running", containerStatuses: [running] }, isBefore ? deletion : {});
    await execution.started;
    const failed: NonNullable<PodObject["status"]> = { phase: "Failed", containerStatuses: [terminated(3, "Error")] };
    pool.putPod(job, failed, isBefore ? deletion : {});
    pool.putPod(job, failed, deletion);
    pool.putJobStatus(job, failedJob);
    const ending = await execution.ended;
    expect(ending).toMatchObject({ kind: "exited", status: 3 });
    expect(["isCrash" in ending, (ending as { why: string }).why.includes("deleted")]).toEqual([isBefore, isBefore]);
  });

  test("that fails with a pod that is gone has that end at once", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    const pod = pool.putPod(
      job,
      { phase: "Running", containerStatuses: [running] },
      { deletionGracePeriodSeconds: 30 },
    );
    await execution.started;
    pool.putJobStatus(job, failedJob);
    pool.cluster.remove("pods", "default", pod.metadata.name);
    expect(await execution.ended).toMatchObject({ kind: "gone", why: expect.stringContaining("has no exit code") });
  });

  test("that loses its label is not gone", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    // A server reports an object as deleted when the selector does not match any more.
    pool.cluster.remove("jobs", "default", job.metadata.name);
    const { labels: _, ...metadata } = job.metadata;
    pool.cluster.put("jobs", { ...job, metadata } as never);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const notYet = Symbol("not yet");
    expect(await Promise.race([execution.ended, Promise.resolve(notYet)])).toBe(notYet);
  });

  test("that ends while nothing is watched has its end from the next list", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await execution.started;
    await pool.cluster.stop();
    pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(5, "Error")] });
    pool.putJobStatus(job, failedJob);
    pool.cluster.forget();
    await pool.cluster.start();
    expect(await execution.ended).toMatchObject({ status: 5 });
  }, 20_000);
});

test("the last lines of a failure are handed over, those of a success are not", async () => {
  await using pool = await openFakePool();
  const { execution, job } = await start(pool, { stream_output: false });
  await using _execution = execution;
  await pool.watched();
  const pod = pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(1, "Error")] });
  pool.cluster.logs.set(
    pod.metadata.name,
    `${Array.from({ length: 600 }, (_, index) => `line ${index}`).join("\n")}\n`,
  );
  pool.putJobStatus(job, failedJob);
  const { output } = await execution.ended;
  expect(output?.of).toBe(`container 'prefect-job' in pod '${pod.metadata.name}'`);
  expect([output?.lines.length, output?.lines[0], output?.lines.at(-1)]).toEqual([500, "line 100", "line 599"]);
  expect(pool.lines).toEqual([]);
});

test("the output of a container is printed once", async () => {
  await using pool = await openFakePool();
  const { execution, job } = await start(pool);
  await using _execution = execution;
  await pool.watched();
  const line = (second: number) => `2026-01-01T00:00:0${second}.123456789Z line ${second}\n`;
  pool.cluster.logs.set(`${job.metadata.name}-pod`, line(1) + line(2));
  pool.putPod(job, { phase: "Running", containerStatuses: [running] });
  await waitFor(() => pool.lines.length === 2, { ...soon, what: "two lines" });
  pool.cluster.logs.set(`${job.metadata.name}-pod`, line(1) + line(2) + line(3));
  pool.putPod(job, { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] });
  pool.putJobStatus(job, completeJob);
  await execution.ended;
  expect(pool.lines).toEqual(["line 1", "line 2", "line 3"]);
});

test("the output of a container is looked for ever more rarely while the cluster has none", async () => {
  await using pool = await openFakePool();
  const { execution, job } = await start(pool);
  await using _execution = execution;
  await pool.watched();
  const isLog = ({ path }: { path: string }): boolean => path.includes("/log");
  const askedAt: number[] = [];
  pool.cluster.faults.push((request) => {
    if (!isLog(request)) return undefined;
    askedAt.push(performance.now());
    return missing("pods", "gone");
  });
  pool.putPod(job, { phase: "Running", containerStatuses: [running] });
  await waitFor(() => askedAt.length === 3, { ...soon, what: "three requests" });
  const [first = 0, second = 0, third = 0] = askedAt;
  expect(third - second).toBeGreaterThan(1.5 * (second - first));
  pool.putPod(job, { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] });
  pool.putJobStatus(job, completeJob);
  expect(await execution.ended).toMatchObject({ status: 0 });
});

describe("a pod that waits", () => {
  test("is pending, and each reason is said once, in the log and as a state", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putPod(job, { phase: "Pending" });
    const pull = (reason: string) =>
      pool.putPod(job, { phase: "Pending", containerStatuses: [waiting(reason, `cannot pull: not found`)] });
    for (const reason of ["ErrImagePull", "ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"]) pull(reason);
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await execution.started;
    await waitFor(() => pool.reasons.length === 2, { ...soon, what: "two reasons" });
    expect(pool.reasons[0]).toBe("Kubernetes pod is pending.");
    expect(pool.reasons[1]).toMatch(
      /^Container 'prefect-job' cannot pull its image\. ErrImagePull: cannot pull: not found\. Check/,
    );
    expect(pool.logs().filter((text) => text.includes("cannot pull its image"))).toEqual(pool.reasons.slice(1));
    const events = pool.events.map(({ event, resource }) => [event, resource?.["kubernetes.diagnosis"]]);
    expect(events).toEqual([
      ["prefect.kubernetes.pod.pending", undefined],
      ["prefect.kubernetes.pod.pending", "ImagePullError"],
      ["prefect.kubernetes.pod.running", undefined],
    ]);
  });

  test("does not wait any more when its container has run, although its phase is still Pending", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putPod(job, { phase: "Pending" });
    pool.putPod(job, { phase: "Pending", containerStatuses: [terminated(137, "OOMKilled")] });
    pool.putPod(job, { phase: "Failed", containerStatuses: [terminated(137, "OOMKilled")] });
    pool.putJobStatus(job, failedJob);
    expect(await execution.ended).toMatchObject({ status: 137 });
    expect(pool.reasons).toEqual(["Kubernetes pod is pending."]);
    expect(pool.logs().filter((text) => text.includes("OOMKilled"))).toHaveLength(1);
  });

  test("and whose flow run does not wait any more loses its Job", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.isWanted = false;
    pool.putPod(job, { phase: "Pending" });
    expect(await execution.ended).toMatchObject({ kind: "gone", why: expect.stringContaining("does not wait for it") });
    expect(await pool.jobs()).toEqual([]);
  });

  test("longer than its job allows loses its Job first, and then is reported", async () => {
    await using pool = await openFakePool();
    const { execution, job } = await start(pool, { pod_watch_timeout_seconds: 1 });
    await using _execution = execution;
    await pool.watched();
    pool.putPod(job, { phase: "Pending", containerStatuses: [waiting("ImagePullBackOff", "no such image")] });
    const ending = await execution.ended;
    expect(ending).toMatchObject({
      kind: "gone",
      why: expect.stringMatching(
        /had not started after 1 s \(pod_watch_timeout_seconds\)\. Pod .* never started\. .*no such image/,
      ),
    });
    expect(await pool.jobs()).toEqual([]);
  });

  test("has its whole time if the clock of the cluster is far behind", async () => {
    await using pool = await openFakePool();
    pool.cluster.aheadMs = -3_600_000;
    const { execution, job } = await start(pool, { pod_watch_timeout_seconds: 120 });
    await using _execution = execution;
    await pool.watched();
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await execution.started;
    expect(pool.cluster.requests.map(({ method }) => method)).not.toContain("DELETE");
  });

  test("because it cannot be created has the reason that the Job's events say", async () => {
    await using started = await startWatched();
    const { pool, job } = started;
    const message = 'pods "x" is forbidden: exceeded quota: small';
    pool.cluster.put("events", {
      metadata: { name: "e", namespace: "default" },
      reason: "FailedCreate",
      message,
      involvedObject: { uid: job.metadata.uid },
    } as never);
    await waitFor(() => pool.reasons.length > 0, { ...soon, what: "a reason" });
    expect(pool.reasons[0]).toContain(`cannot create the pod of the Job. ${message}.`);
  });
});

test("a Job that takes longer than its job allows is deleted", async () => {
  await using pool = await openFakePool();
  const { execution, job } = await start(pool, { job_watch_timeout_seconds: 1 });
  await using _execution = execution;
  await pool.watched();
  pool.putPod(job, { phase: "Running", containerStatuses: [running] });
  expect(await execution.ended).toMatchObject({ why: expect.stringContaining("1 s (job_watch_timeout_seconds)") });
});

describe("a cancelled flow run", () => {
  test("whose container never started loses its Job at once", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putPod(job, { phase: "Pending", containerStatuses: [waiting("ImagePullBackOff")] });
    expect(await execution.stop("cancel", limits)).toBe("stopped");
    const deletion = pool.cluster.requests.find(({ method }) => method === "DELETE");
    expect(JSON.parse(deletion?.body ?? "")).toMatchObject({
      gracePeriodSeconds: 30,
      propagationPolicy: "Foreground",
      preconditions: { uid: job.metadata.uid },
    });
    expect(await execution.ended).toMatchObject({ kind: "gone" });
  });

  test("that ends itself keeps its Job", async () => {
    await using started = await startWatched();
    const { pool, execution, job } = started;
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await execution.started;
    const stopped = execution.stop("cancel", limits);
    pool.putPod(job, { phase: "Succeeded", containerStatuses: [terminated(0, "Completed")] });
    pool.putJobStatus(job, completeJob);
    expect(await stopped).toBe("stopped");
    expect(await execution.ended).toMatchObject({ kind: "exited", status: 0 });
    expect(await pool.jobs()).toHaveLength(1);
  });

  test("with another command loses its Job without a wait", async () => {
    await using pool = await openFakePool();
    const { execution, job } = await start(pool, { command: "python x.py" });
    await using _execution = execution;
    await pool.watched();
    pool.putPod(job, { phase: "Running", containerStatuses: [running] });
    await execution.started;
    await execution.stop("cancel", limits);
    expect(await pool.jobs()).toEqual([]);
  });
});

test("the pod of another flow run's Job with that name is not touched", async () => {
  await using pool = await openFakePool();
  const { execution, job } = await start(pool);
  await using _execution = execution;
  const other = { flowRunId: "22222222-2222-4222-8222-222222222222" };
  const handle = { poolType: "kubernetes", identifier: `default:${job.metadata.name}`, proof: other };
  expect(await pool.infrastructure.findAbandoned(handle)).toBeNull();
  const own = await pool.infrastructure.findAbandoned({ ...handle, proof: { flowRunId } });
  expect(await own?.stop("cancel", limits)).toBe("stopped");
  expect(await pool.jobs()).toEqual([]);
});
