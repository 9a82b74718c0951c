// The execution of one flow run in a Job: how it ends, and how it is stopped.
import { wallClockMs } from "../../async/clock.ts";
import { LinkedController } from "../../async/linked-controller.ts";
import { waitAtMost, waitUnlessAborted } from "../../async/sleep.ts";
import type { Logger } from "../../logger.ts";
import { terminateGraceMs } from "../../process/terminate.ts";
import { selfCancelMs } from "../../program/launch.ts";
import type { Execution, Handle, StopLimits } from "../execution.ts";
import type { RunAccess } from "../pool-type.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { isConflict } from "./cluster/cluster-error.ts";
import { deleteObject } from "./cluster/objects.ts";
import { type JobObject, jobs } from "./cluster/resources.ts";
import { readFacts } from "./job-labels.ts";
import { endLate } from "./job-time-limits.ts";
import { JobWatch } from "./job-watch.ts";
import { type Kubernetes, logOf } from "./kubernetes.ts";
import { relatedTo } from "./pod-event.ts";
import { PodOutputs } from "./pod-output.ts";
import { PodReports } from "./pod-reports.ts";

/** After the end of a Job, its last lines arrive within this time. */
const lastLinesMs = 5_000;
/**
 * A deleted Job is gone within this time after the grace time of its pods. The pod of a node that does not answer stays until
 * the node is back, so it is not waited for longer.
 */
const deletionMs = 30_000;

/** A Job that exists, and its handle. */
export interface RunningJob {
  readonly cluster: Cluster;
  readonly object: JobObject;
  readonly handle: Handle;
  readonly isAdopted: boolean;
}

/** Returns the execution of a Job. */
export async function jobExecution(
  kubernetes: Kubernetes,
  running: RunningJob,
  options: RunAccess,
): Promise<Execution> {
  const { cluster, object, handle } = running;
  const { name, uid, namespace: namespaceName = "", labels = {}, annotations, creationTimestamp } = object.metadata;
  const facts = readFacts(annotations);
  const log = logOf(kubernetes, options.flowRunId);
  const { sendsPodEvents, tailLines } = kubernetes.settings;
  const namespace = kubernetes.namespaces.of(cluster, namespaceName);
  const over = new AbortController();
  const place = { cluster, name, uid, namespace: namespaceName };
  const deleteJob = async (why: string): Promise<void> => {
    watch.expectDeletion(why);
    await deleteJobOf(place, over.signal).catch((error: unknown) => {
      if (!over.signal.aborted) log.warn(`Job '${name}' could not be deleted: ${(error as Error).message}`);
    });
  };
  const reports = new PodReports({
    access: options,
    log,
    namespace: namespaceName,
    related: sendsPodEvents ? await relatedTo(labels) : null,
    onUnwanted: () => {
      if (!watch.hasStarted && !watch.hasEnded) void deleteJob("because its flow run does not wait for it any more");
    },
  });
  const { flowRunId, onLine = null } = options;
  const isReported = onLine !== null;
  const outputs =
    facts?.streamsOutput || isReported
      ? new PodOutputs({
          cluster,
          namespace: namespaceName,
          isAdopted: running.isAdopted,
          log: kubernetes.services.log,
          directory: options.directory,
          settled: options.linesSettled ?? null,
          onLine(text) {
            // The two streams of a container are one in its log.
            const line = { stream: "stdout", text } as const;
            if (facts?.streamsOutput) kubernetes.services.printLine(flowRunId, line);
            onLine?.(line);
          },
        })
      : null;
  const watch = new JobWatch(
    { uid, name, namespace, tailLines, writesResult: isReported },
    { reports, onPodStarted: (pod, end) => outputs?.follow(pod, end) },
  );
  const createdAt = Date.parse(creationTimestamp ?? "");
  void endLate(watch, { facts, createdAt, clockMs: () => cluster.clockMs(), deleteJob, signal: over.signal });
  const ended = watch.ended.then(async (ending) => {
    if (outputs) await waitAtMost(outputs.ended(), lastLinesMs, over.signal);
    const status = ending.kind === "exited" ? `exit code ${ending.status}` : ending.why;
    log.info(`Kubernetes job '${name}' has ended: ${status}`);
    return ending;
  });
  return {
    handle,
    started: watch.started.then(() => (watch.hasStarted ? undefined : ended)),
    startedAt: () => (watch.startedAt === null ? null : watch.startedAt + wallClockMs() - cluster.clockMs()),
    ended,
    hooks: null,
    reportsRunning: facts?.executesItself ?? false,
    // `prefect flow-run execute` sends them.
    sendsHeartbeats: true,
    async readResult() {
      // If an earlier worker saw the end, the pods are not known at once.
      await waitAtMost(watch.ended, lastLinesMs, over.signal);
      return toResult(watch.terminationMessage, log);
    },
    stop: (why, limits) =>
      stopJob(watch, { why, executesItself: facts?.executesItself ?? false, deleteJob, ended }, limits),
    endLeftovers: async () => {},
    async [Symbol.asyncDispose]() {
      over.abort(new Error("the flow run has ended"));
      watch[Symbol.dispose]();
      await outputs?.[Symbol.asyncDispose]();
    },
  };
}

/** Source: Kubernetes, pkg/kubelet/container, MaxContainerTerminationMessageLength. */
const longestResultBytes = 4_096;

function toResult(message: string, log: Logger): string {
  if (Buffer.byteLength(message) >= longestResultBytes)
    log.warn(`Kubernetes passes on the last ${longestResultBytes} bytes of a result only, so it may be incomplete.`);
  return message;
}

/** A Job by its place, and which one. */
export interface JobIdentity {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/**
 * Deletes this Job and its pods, and no later one of the same name. The pods get the usual grace time. Throws ClusterError and the
 * reason of the signal. Source: prefect_kubernetes/worker.py kill_infrastructure.
 */
export async function deleteJobOf({ cluster, namespace, name, uid }: JobIdentity, signal: AbortSignal): Promise<void> {
  try {
    await deleteObject(cluster, jobs, namespace, name, {
      uid,
      gracePeriodSeconds: terminateGraceMs / 1000,
      propagationPolicy: "Foreground",
      signal,
      retries: Number.POSITIVE_INFINITY,
    });
  } catch (error) {
    // Another Job has the name, so this one is gone.
    if (!isConflict(error)) throw error;
  }
}

interface StopRequest {
  readonly why: "cancel" | "kill";
  readonly executesItself: boolean;
  readonly ended: Promise<unknown>;
  deleteJob(why: string): Promise<void>;
}

/**
 * Stops the Job. A pod that executes the flow run itself sees the cancellation and ends itself, so it gets the time for that
 * first. A Job whose pod has not started, and any other, is deleted at once.
 */
async function stopJob(
  watch: JobWatch,
  { why, executesItself, ended, deleteJob }: StopRequest,
  { kill, leave }: StopLimits,
): Promise<"stopped" | "had ended"> {
  using over = new LinkedController(kill);
  void ended.then(() => over.abort());
  if (why === "cancel" && executesItself && watch.hasStarted) await waitAtMost(ended, selfCancelMs, over.signal);
  if (await isSettled(ended)) return "stopped";
  // A program that ended in time is not said to have run for too long.
  if (why === "kill" && !leave.aborted && (await looksEnded(watch, leave))) return "had ended";
  using waiting = new LinkedController(leave);
  void ended.then(() => waiting.abort());
  const deleted = deleteJob(why === "cancel" ? "because its flow run was cancelled" : "by its worker");
  await waitUnlessAborted(deleted, waiting.signal);
  await waitAtMost(ended, terminateGraceMs + deletionMs, waiting.signal);
  watch.giveUp();
  return "stopped";
}

async function looksEnded(watch: JobWatch, leave: AbortSignal): Promise<boolean> {
  const looking = watch.looksEnded();
  await waitUnlessAborted(looking, leave);
  return !leave.aborted && (await looking);
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const notYet = Symbol("not yet");
  return (await Promise.race([promise, Promise.resolve(notYet)])) !== notYet;
}
