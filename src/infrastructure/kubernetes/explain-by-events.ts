// Finds out from events why a flow run waits, where the status of Job and pod does not say it.
import { sleep } from "../../async/sleep.ts";
import { listEvents } from "./cluster/objects.ts";
import type { EventObject } from "./cluster/resources.ts";
import { type Diagnosis, sentence } from "./diagnosis.ts";
import type { PodFacts } from "./pod-facts.ts";
import type { PodReports } from "./pod-reports.ts";
import type { WatchedNamespace } from "./watched-namespaces.ts";

/** What is known of the Job. */
export interface WaitingJob {
  readonly hasStarted: boolean;
  readonly hasEnded: boolean;
  readonly pods: readonly PodFacts[];
}

/** A Job without a pod for this time probably cannot have one. */
const firstPodMs = 5_000;
/** A pod that has a node, and no reason to wait, usually pulls its image. That takes longer, and its events then say nothing. */
const firstStartMs = 30_000;
const lookMs = 60_000;
const lookLimitMs = 30_000;

/**
 * Looks at events until a container has started, and reports what they say. Events are forgotten, and who may not read them does
 * without.
 */
export async function explainByEvents(
  { namespace, uid }: { readonly namespace: WatchedNamespace; readonly uid: string },
  job: WaitingJob,
  reports: PodReports,
  signal: AbortSignal,
): Promise<void> {
  const isOver = (): boolean => signal.aborted || job.hasEnded || job.hasStarted;
  const eventsOf = async (about: string): Promise<EventObject[]> =>
    await listEvents(namespace.cluster, namespace.name, { uid: about }, { signal, limitMs: lookLimitMs }).catch(
      () => [],
    );
  let isFirst = true;
  for (const pauseMs of pauses()) {
    await sleep(pauseMs, signal);
    if (isOver()) return;
    if (job.pods.length === 0) {
      const found = diagnoseMissingPod(await eventsOf(uid));
      if (found && job.pods.length === 0 && !isOver()) reports.onDiagnosis(found, true);
    } else if (!isFirst) {
      const stuck = job.pods.find(isUnexplained);
      const found = stuck && diagnosePodEvents(await eventsOf(stuck.uid));
      if (found && !isOver()) reports.onDiagnosis(found, true);
    }
    isFirst = false;
  }
}

/** The pauses before the looks. */
function* pauses(): Generator<number> {
  yield firstPodMs;
  yield firstStartMs - firstPodMs;
  for (;;) yield lookMs;
}

/** The pod is on a node, and its containers only say that they are being created. */
function isUnexplained({ phase, node, diagnosis, graceSeconds }: PodFacts): boolean {
  return phase === "Pending" && node !== null && diagnosis === null && graceSeconds === null;
}

/** A quota, a webhook or a missing service account may refuse the pod. Only the events about the Job say so. */
function diagnoseMissingPod(events: readonly EventObject[]): Diagnosis | null {
  const failed = events.filter(({ reason }) => reason === "FailedCreate").at(-1);
  if (failed === undefined) return null;
  return {
    level: "error",
    category: "FailedCreate",
    summary: "Kubernetes cannot create the pod of the Job",
    detail: sentence(failed.message ?? ""),
    advice: "It tries again until the cause is gone, for example a quota or a missing service account.",
  };
}

type Row = readonly [level: Diagnosis["level"], summary: string, advice: string];

const volumesRow: Row = [
  "error",
  "The volumes of the pod cannot be mounted",
  "Check that the secrets, config maps and claims exist that the volumes of the job manifest name.",
];

/** Source: Kubernetes, pkg/kubelet/events/event.go; pkg/controller/volume/events. */
const podEvents: ReadonlyMap<string, Row> = new Map<string, Row>([
  ["FailedMount", volumesRow],
  ["FailedAttachVolume", volumesRow],
  ["FailedMapVolume", volumesRow],
  [
    "FailedCreatePodSandBox",
    ["warn", "The node cannot make the pod", "Look at the network plugin and the container runtime of the node."],
  ],
  ["NetworkNotReady", ["warn", "The network of the node is not ready", "Look at the network plugin of the node."]],
]);

/** Returns what keeps a pod from starting that has a node; null if the last event says nothing of that. Earlier ones are over. */
export function diagnosePodEvents(events: readonly EventObject[]): Diagnosis | null {
  const event = events.at(-1);
  const row = podEvents.get(event?.reason ?? "");
  if (event === undefined || row === undefined) return null;
  const [level, summary, advice] = row;
  return {
    level,
    category: event.reason ?? "",
    summary: `${summary} (${event.reason})`,
    detail: sentence(event.message ?? ""),
    advice,
  };
}
