// Says how a flow run ended from its Job and its pods.
import type { Ending } from "../pool-type.ts";
import type { JobOutcome } from "./job-row.ts";
import type { PodFacts } from "./pod-facts.ts";

/** How a Job ended, or that it was deleted before anybody knew. */
export type JobEnd = JobOutcome | { readonly kind: "deleted"; readonly why: string };

/**
 * Returns the ending. `pods` are those of the Job, in any order. `waitedFor` is what it waited for if it had no pod, as
 * sentences.
 */
export function toEnding(end: JobEnd, pods: readonly PodFacts[], waitedFor: string | null): Ending {
  if (end.kind === "complete") return { kind: "exited", status: 0, reported: null };
  const pod = newest(pods.filter(({ end: ended, isDisrupted }) => ended !== null || isDisrupted)) ?? newest(pods);
  const status = pod?.end?.exitCode ?? 0;
  const why = [
    ...(end.kind === "deleted" ? [end.why] : describeFailure(end)),
    ...(pod ? describePod(pod) : [waitedFor ?? "It had no pod."]),
  ].join(" ");
  if (status !== 0 && end.kind === "failed") return { kind: "exited", status, reported: null, why };
  return { kind: "gone", why, mayHaveBegun: true };
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

function describePod(pod: PodFacts): string[] {
  const { name, node, end, diagnosis } = pod;
  const where = `Pod '${name}'${node === null ? "" : ` on node '${node}'`}`;
  const reason = end && end.reason !== "" ? ` (${end.reason})` : "";
  const message = end && end.message !== "" ? `: ${end.message.replace(/\.$/, "")}` : "";
  const ended = end
    ? `ended with exit code ${end.exitCode}${reason}${message}`
    : pod.hasStarted
      ? "has no exit code"
      : "never started";
  const said = diagnosis ? [`${diagnosis.summary}.`, diagnosis.detail, diagnosis.advice].filter(Boolean) : [];
  return [`${where} ${ended}.`, ...said];
}
