// Says how a flow run ended from its Job and its pods.
import type { Ending } from "../execution.ts";
import type { JobOutcome } from "./job-row.ts";
import { isFinal, mainContainer, type PodFacts } from "./pod-facts.ts";

/** How a Job ended, or that it was deleted before anybody knew. */
export type JobEnd = JobOutcome | { readonly kind: "deleted"; readonly why: string };

/** What is known besides. */
interface EndingContext {
  /** What the Job waited for if it had no pod, as sentences. */
  readonly waitedFor: string | null;
  /** Whether the termination message of the program is its result, which is no part of a state message. */
  readonly writesResult?: boolean;
}

/** Returns the ending. `pods` are those of the Job, in any order. */
export function toEnding(
  end: JobEnd,
  pods: readonly PodFacts[],
  { waitedFor, writesResult = false }: EndingContext,
): Ending {
  if (end.kind === "complete") return { kind: "exited", status: 0, reported: null };
  const pod = decisive(pods);
  const status = pod?.end?.exitCode ?? 0;
  const why = [
    ...(end.kind === "deleted" ? [end.why] : describeFailure(end)),
    ...(pod
      ? describePod(pod, { hidesMessage: writesResult && pod.hasStarted, isJobDeleted: end.kind === "deleted" })
      : [waitedFor ?? "It had no pod."]),
  ].join(" ");
  const gone = { kind: "gone", why, mayHaveBegun: true } as const;
  if (end.kind === "deleted") {
    if (!pod || !endedBeforeDeletion(pod)) return gone;
    // A short time to live may be over before the worker hears of the end.
    if (status === 0) return { kind: "exited", status, reported: null };
  } else if (status === 0 || (pod && wasKilledByNode(pod))) return gone;
  return { kind: "exited", status, reported: null, why, ...(pod && isCrash(end, pod) && { isCrash: true }) };
}

/** Whether the pod had ended when it was seen last, and nobody had told it to end. Its exit code is then that of its program. */
function endedBeforeDeletion(pod: PodFacts): boolean {
  return pod.end !== null && isFinal(pod) && pod.graceSeconds === null && !pod.isDisrupted;
}

/** Whether the node killed the container because its pod was told to end. Exit code 137 alone is explained as a lack of memory. */
function wasKilledByNode({ end, isDisrupted, graceSeconds }: PodFacts): boolean {
  return end?.exitCode === 137 && end.reason !== "OOMKilled" && (isDisrupted || graceSeconds !== null);
}

/** Whether the exit code is not that of a program that ended by itself. */
function isCrash(job: JobEnd, { end, hasStarted, isDisrupted, graceSeconds }: PodFacts): boolean {
  const isLate = job.kind === "failed" && job.reason === "DeadlineExceeded";
  return isDisrupted || graceSeconds !== null || !hasStarted || end?.reason === "OOMKilled" || isLate;
}

/** Returns the pod that says how the flow run ended: the newest that has ended, if any has. */
function decisive(pods: readonly PodFacts[]): PodFacts | undefined {
  return newest(pods.filter(({ end, isDisrupted }) => end !== null || isDisrupted)) ?? newest(pods);
}

/** Returns the termination message of the flow run's container; an empty text if there is none. */
export function terminationMessage(pods: readonly PodFacts[]): string {
  const { end = null, hasStarted = false } = decisive(pods) ?? {};
  // The message of a container that could not start is the cluster's.
  return hasStarted && end?.container === mainContainer ? end.message : "";
}

/** Returns the pod that was created last. */
export function newest(pods: readonly PodFacts[]): PodFacts | undefined {
  return pods.reduce<PodFacts | undefined>((last, one) => (last && last.created > one.created ? last : one), undefined);
}

/** One failed pod is the usual end of a Job, so nothing is said of it. */
function describeFailure({ reason, message }: JobOutcome & { kind: "failed" }): string[] {
  if (reason === "BackoffLimitExceeded") return [];
  if (reason === "DeadlineExceeded") return ["The Job ran longer than its activeDeadlineSeconds (DeadlineExceeded)."];
  const said = message === "" ? "" : `: ${message.replace(/\.$/, "")}`;
  return [`The Job failed (${reason || "no reason given"})${said}.`];
}

/** Kubernetes allows longer ones. */
const longestMessage = 500;

function describePod(
  pod: PodFacts,
  { hidesMessage, isJobDeleted }: { hidesMessage: boolean; isJobDeleted: boolean },
): string[] {
  const { name, node, end, diagnosis } = pod;
  const where = `Pod '${name}'${node === null ? "" : ` on node '${node}'`}`;
  const reason = end && end.reason !== "" ? ` (${end.reason})` : "";
  const text = hidesMessage ? "" : (end?.message ?? "").replace(/\s+/g, " ").trim().slice(0, longestMessage);
  const message = text === "" ? "" : `: ${text.replace(/\.$/, "")}`;
  const part = end && end.container !== mainContainer ? ` in container '${end.container}'` : "";
  const ended = end
    ? `ended with exit code ${end.exitCode}${reason}${part}${message}`
    : pod.hasStarted
      ? "has no exit code"
      : "never started";
  const deleted = pod.graceSeconds === null || diagnosis ? [] : ["The pod was deleted."];
  const said = diagnosis ? [`${diagnosis.summary}.`, diagnosis.detail, diagnosis.advice].filter(Boolean) : [];
  return [`${where} ${ended}.`, ...(isJobDeleted ? [] : deleted), ...said];
}
