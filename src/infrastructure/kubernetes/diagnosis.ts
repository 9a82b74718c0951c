// Finds out what keeps a pod from running, or what has ended it. Source for the categories, which are labels of events:
// prefect_kubernetes/diagnostics.py.
import type { ContainerStatus, PodObject } from "./cluster/resources.ts";

/** What is wrong with a pod. */
export interface Diagnosis {
  readonly level: "error" | "warn";
  /** For automations. The names are the reference's, where it has one. */
  readonly category: string;
  /** A few words, without a full stop. */
  readonly summary: string;
  /** What Kubernetes says, as sentences. */
  readonly detail: string;
  /** What to do, as a sentence. */
  readonly advice: string;
}

type PodStatus = NonNullable<PodObject["status"]>;

/** Returns what is wrong with a pod in this status; null if nothing is known. */
export function diagnose(status: PodStatus = {}): Diagnosis | null {
  const containers = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  return (
    first(containers, diagnoseWaiting) ??
    first(containers, diagnoseEnded) ??
    diagnoseUnschedulable(status) ??
    diagnosePod(status)
  );
}

/** A failed pull and the wait for the next one alternate. Since Kubernetes 1.32 both have the cause. Source: kubelet image_manager.go. */
const pullStep = /^(ErrImagePull|ImagePullBackOff): (Back-off pulling image "[^"]*": (ErrImagePull: )?)?/;

/** Returns what tells diagnoses apart. Numbers do not count, because they change while the cause stays the same. */
export function diagnosisKey({ category, summary, detail }: Diagnosis): string {
  return [category, summary, detail.replace(pullStep, "").replace(/\d+/g, "#")].join("\n");
}

/** Returns a diagnosis as sentences. */
export function describeDiagnosis({ summary, detail, advice }: Diagnosis): string {
  return [`${summary}.`, detail, advice].filter(Boolean).join(" ");
}

type Row = [category: string, what: string, advice: string];

const imageAdvice =
  "Check the name and the tag of the image, the registry, and the imagePullSecrets of the pod or its service account.";
const nodeAdvice = "Look at the conditions of the node. Larger requests put the pod on a node with more room.";

/** Why a container waits. Other reasons, such as ContainerCreating, are no failures. Source: kubelet, images and kuberuntime. */
const waitingReasons: ReadonlyMap<string, Row> = new Map<string, Row>([
  ["ErrImagePull", ["ImagePullError", "cannot pull its image", imageAdvice]],
  ["ImagePullBackOff", ["ImagePullError", "cannot pull its image", imageAdvice]],
  [
    "ErrImageNeverPull",
    ["ImagePullError", "has an image that the node does not have", "Set another image_pull_policy."],
  ],
  ["InvalidImageName", ["ImagePullError", "has an image whose name is not valid", "Correct the name of the image."]],
  ["RegistryUnavailable", ["ImagePullError", "cannot pull its image", imageAdvice]],
  [
    "CreateContainerConfigError",
    [
      "CreateContainerConfigError",
      "cannot be configured",
      "Check that the secrets, config maps and keys exist that the job manifest refers to.",
    ],
  ],
  [
    "CreateContainerError",
    ["CreateContainerError", "cannot be created", "Check the command, the volumes and the security context."],
  ],
  ["RunContainerError", ["RunContainerError", "cannot be started", "Check the command and the volumes."]],
  [
    "CrashLoopBackOff",
    ["CrashLoopBackOff", "ends again and again", "Look at its output, and check its command, variables and volumes."],
  ],
]);

function diagnoseWaiting({ name, state }: ContainerStatus): Diagnosis | null {
  const { reason = "", message = "" } = state?.waiting ?? {};
  const row = waitingReasons.get(reason);
  if (row === undefined) return null;
  const [category, what, advice] = row;
  return { level: "error", category, summary: `Container '${name}' ${what}`, detail: said(reason, message), advice };
}

function diagnoseEnded({ name, state }: ContainerStatus): Diagnosis | null {
  const { reason, message = "" } = state?.terminated ?? {};
  if (reason === "OOMKilled") {
    return {
      level: "error",
      category: "OOMKilled",
      summary: `Container '${name}' used more memory than its limit (OOMKilled)`,
      detail: sentence(message),
      advice: "Raise its memory limit, or make the flow run use less.",
    };
  }
  if (reason !== "Evicted") return null;
  const summary = `Container '${name}' was evicted`;
  return { level: "warn", category: "Evicted", summary, detail: sentence(message), advice: nodeAdvice };
}

function diagnoseUnschedulable({ conditions }: PodStatus): Diagnosis | null {
  const found = conditions?.find(({ type, reason }) => type === "PodScheduled" && reason === "Unschedulable");
  if (found === undefined) return null;
  return {
    level: "warn",
    category: unschedulableCategory(found.message ?? ""),
    summary: "No node can run the pod (Unschedulable)",
    detail: sentence(found.message ?? ""),
    advice: "Add nodes, or change the requests, node selectors and tolerations of the job manifest.",
  };
}

/** The cause is only in the scheduler's words. Source: diagnostics.py _categorize_unschedulable. */
function unschedulableCategory(message: string): string {
  const text = message.toLowerCase();
  if (text.includes("taint")) return "Unschedulable.Taint";
  if (text.includes("affinity") || text.includes("node selector")) return "Unschedulable.NodeAffinity";
  if (text.includes("insufficient")) return "Unschedulable.InsufficientResources";
  return "Unschedulable";
}

/** What ended the whole pod. Source: kubelet eviction and preemption, DisruptionTarget conditions, node lifecycle. */
function diagnosePod({ reason = "", message = "", conditions }: PodStatus): Diagnosis | null {
  if (reason === "Evicted")
    return {
      level: "warn",
      category: reason,
      summary: "The pod was evicted",
      detail: sentence(message),
      advice: nodeAdvice,
    };
  const disruption = conditions?.find((one) => one.type === "DisruptionTarget" && one.status === "True");
  const cause = disruption?.reason ?? reason;
  const row = podReasons.get(cause);
  if (row === undefined) return null;
  const [category, summary, advice] = row;
  return { level: "warn", category, summary, detail: sentence(disruption?.message ?? message), advice };
}

const podReasons: ReadonlyMap<string, Row> = new Map<string, Row>([
  ["Preempting", ["Preempting", "The node needed room for a critical pod (Preempting)", nodeAdvice]],
  [
    "PreemptionByScheduler",
    ["Preempting", "A pod of higher priority took its place (Preempting)", "Give it a priority class, or add nodes."],
  ],
  ["NodeLost", ["NodeLost", "The node of the pod does not answer (NodeLost)", "Look at the node."]],
  [
    "DeletionByTaintManager",
    ["NodeLost", "The node of the pod does not answer or drives pods out", "Look at the node."],
  ],
  ["DeletionByPodGC", ["NodeLost", "The node of the pod is gone", "Look at the node."]],
  ["EvictionByEvictionAPI", ["Evicted", "The pod was evicted, for example because its node is drained", ""]],
  ["TerminationByKubelet", ["Evicted", "The node ended the pod", nodeAdvice]],
  ["NodeShutdown", ["Evicted", "The node of the pod was shut down", ""]],
  ["Terminated", ["Evicted", "The node of the pod was shut down", ""]],
  ["DeadlineExceeded", ["DeadlineExceeded", "The pod ran longer than its activeDeadlineSeconds", ""]],
]);

function first<T>(items: readonly T[], find: (item: T) => Diagnosis | null): Diagnosis | null {
  for (const item of items) {
    const found = find(item);
    if (found) return found;
  }
  return null;
}

function said(reason: string, message: string): string {
  return sentence(message === "" ? reason : `${reason}: ${message}`);
}

/** Returns the text on one line with a full stop; empty for no text. Texts of the cluster may be very long. */
export function sentence(text: string): string {
  const line = text.replace(/\s+/g, " ").trim().slice(0, 1_000);
  return line === "" ? "" : `${line.replace(/\.$/, "")}.`;
}
