// What is kept of a pod. There may be thousands of pods, so this is little.
import type { ContainerStatus, PodObject } from "./cluster/resources.ts";
import { type Diagnosis, diagnose } from "./diagnosis.ts";

/** A pod, as far as the end of its flow run depends on it. */
export interface PodFacts {
  readonly uid: string;
  readonly name: string;
  /** The Job that it belongs to; null if it belongs to none. */
  readonly jobUid: string | null;
  readonly created: string;
  readonly phase: string;
  /** Null before the pod has one. */
  readonly node: string | null;
  /** How often its containers were started again. */
  readonly restarts: number;
  /** Whether a container other than those for preparation has run. */
  readonly hasStarted: boolean;
  /** How the flow run's container ended, or the one for preparation that kept it from starting. Null if it runs, or if nobody knows. */
  readonly end: ContainerEnd | null;
  /** Whether the pod was ended from outside: by an eviction, a preemption, or the loss of its node. */
  readonly isDisrupted: boolean;
  /** How long its programs may still run, from when it was told to end. Null if it was not told. */
  readonly graceSeconds: number | null;
  readonly diagnosis: Diagnosis | null;
  /** When it entered its phase, in RFC 3339; null if nobody knows. Source: observer.py _pod_phase_occurred. */
  readonly since: string | null;
}

/** How a container ended. */
export interface ContainerEnd {
  readonly container: string;
  readonly exitCode: number;
  /** Such as `Error`, `OOMKilled` and `StartError`. */
  readonly reason: string;
  /** Why it could not start, or what it wrote to its termination log, which Kubernetes limits. Usually empty. */
  readonly message: string;
}

/** The container of the flow run. Source: prefect_kubernetes/worker.py. */
export const mainContainer = "prefect-job";

/** Source: Kubernetes, core/v1 DefaultTerminationGracePeriodSeconds. */
const usualGraceSeconds = 30;

/** Returns whether all containers of the pod have ended. */
export function isFinal({ phase }: PodFacts): boolean {
  return phase === "Succeeded" || phase === "Failed";
}

/** Returns what is kept of a pod. */
export function toPodFacts(pod: PodObject): PodFacts {
  const { metadata, spec, status } = pod;
  const containers = status?.containerStatuses ?? [];
  const diagnosis = diagnose(status);
  const hasStarted = containers.some(hasRun);
  return {
    uid: metadata.uid,
    name: metadata.name,
    jobUid: metadata.ownerReferences?.find(({ kind }) => kind === "Job")?.uid ?? null,
    created: metadata.creationTimestamp ?? "",
    phase: status?.phase ?? "Unknown",
    node: spec?.nodeName ?? null,
    restarts: containers.reduce((sum, { restartCount = 0 }) => sum + restartCount, 0),
    hasStarted,
    end: endOf(containers) ?? (hasStarted ? null : endOfPreparation(status?.initContainerStatuses ?? [])),
    isDisrupted: isDisrupted(pod),
    graceSeconds: metadata.deletionTimestamp ? (metadata.deletionGracePeriodSeconds ?? usualGraceSeconds) : null,
    diagnosis,
    since: sinceOf(pod),
  };
}

function hasRun(status: ContainerStatus): boolean {
  const { state, lastState } = status;
  if (state?.running !== undefined || lastState?.running !== undefined) return true;
  if (wasNeverMade(status)) return false;
  // A container whose program could not be started has an end, too. Source: kubelet kuberuntime, StartError.
  const ends = [state?.terminated, lastState?.terminated];
  return ends.some((end) => end && !/^(StartError|ContainerCannotRun)$/.test(end.reason ?? ""));
}

/**
 * The node gives each container of a deleted pod an end with exit code 137, also one that still waited for its image.
 * Source: kubelet status_manager.go TerminatePod, kubelet_pods.go convertToAPIContainerStatuses.
 */
function wasNeverMade({ containerID, restartCount = 0, state }: ContainerStatus): boolean {
  const { reason, message = "" } = state?.terminated ?? {};
  return reason === "ContainerStatusUnknown" && !containerID && restartCount === 0 && !/used to be/.test(message);
}

/** The flow run's container counts, if it failed. Otherwise any that failed, because it also fails the pod. */
function endOf(containers: readonly ContainerStatus[]): ContainerEnd | null {
  const ended = containers.flatMap((status) => {
    const { name, state, lastState } = status;
    if (wasNeverMade(status)) return [];
    const end = state?.terminated ?? lastState?.terminated;
    if (end === undefined) return [];
    return [{ container: name, exitCode: end.exitCode, reason: end.reason ?? "", message: end.message ?? "" }];
  });
  const main = ended.find(({ container }) => container === mainContainer);
  if (main && main.exitCode !== 0) return main;
  return ended.find(({ exitCode }) => exitCode !== 0) ?? main ?? ended[0] ?? null;
}

/** The first container for preparation that failed. Those after it, and that of the flow run, never start. */
function endOfPreparation(containers: readonly ContainerStatus[]): ContainerEnd | null {
  const end = endOf(containers);
  return end?.exitCode === 0 ? null : end;
}

function isDisrupted({ status }: PodObject): boolean {
  const isTarget = status?.conditions?.some((one) => one.type === "DisruptionTarget" && one.status === "True");
  return isTarget === true || /^(Evicted|Preempting|NodeLost|NodeShutdown|Terminated)$/.test(status?.reason ?? "");
}

function sinceOf({ metadata, status }: PodObject): string | null {
  const containers = status?.containerStatuses ?? [];
  switch (status?.phase) {
    case "Pending":
      return metadata.creationTimestamp ?? null;
    case "Running":
      return latest(containers.map(({ state }) => state?.running?.startedAt)) ?? status.startTime ?? null;
    case "Succeeded":
    case "Failed": {
      const all = [...(status.initContainerStatuses ?? []), ...containers];
      return latest(all.map(({ state }) => state?.terminated?.finishedAt));
    }
    default:
      return null;
  }
}

/** All times of the API server are in UTC, so they sort as texts. */
function latest(times: readonly (string | undefined)[]): string | null {
  return times.reduce<string | null>((last, time) => (time !== undefined && time > (last ?? "") ? time : last), null);
}
