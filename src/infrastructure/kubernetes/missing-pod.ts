// Finds out why Kubernetes does not create the pod of a Job.
import { sleep } from "../../async/sleep.ts";
import { listEvents } from "./cluster/objects.ts";
import type { Diagnosis } from "./diagnosis.ts";
import type { WatchedNamespace } from "./watched-namespaces.ts";

/** A Job without a pod for this time probably cannot have one. */
const firstLookMs = 5_000;
const lookMs = 60_000;
const lookLimitMs = 30_000;

interface MissingPod {
  /** Whether the Job goes on without a pod. */
  isMissing(): boolean;
  onDiagnosis(diagnosis: Diagnosis): void;
  readonly signal: AbortSignal;
}

/** A quota, a webhook or a missing service account may refuse the pod. Only the events about the Job say so. Never rejects. */
export async function explainMissingPod(
  { namespace, uid }: { readonly namespace: WatchedNamespace; readonly uid: string },
  { isMissing, onDiagnosis, signal }: MissingPod,
): Promise<void> {
  for (let pauseMs = firstLookMs; isMissing(); pauseMs = lookMs) {
    await sleep(pauseMs, signal);
    if (signal.aborted || !isMissing()) return;
    // Who may not read events does without.
    const options = { signal, limitMs: lookLimitMs };
    const events = await listEvents(namespace.cluster, namespace.name, { uid }, options).catch(() => []);
    const failed = events.filter(({ reason }) => reason === "FailedCreate").at(-1);
    if (!failed || !isMissing()) continue;
    onDiagnosis({
      level: "error",
      category: "FailedCreate",
      summary: "Kubernetes cannot create the pod of the Job",
      detail: `${(failed.message ?? "").replace(/\s+/g, " ").trim().replace(/\.$/, "")}.`,
      advice: "It tries again until the cause is gone, for example a quota or a missing service account.",
    });
  }
}
