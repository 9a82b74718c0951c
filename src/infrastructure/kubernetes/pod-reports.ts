// Reports what happens to the pods of one flow run while it waits and runs: events, log records, and the state that it waits.
import type { EventResource } from "../../api/wire.ts";
import type { Logger } from "../../logger.ts";
import type { RunAccess } from "../pool-type.ts";
import { type Diagnosis, describeDiagnosis, diagnosisKey } from "./diagnosis.ts";
import { podEventId, toPodEvent } from "./pod-event.ts";
import type { PodFacts } from "./pod-facts.ts";

/** Where the reports go. */
export interface ReportTargets {
  readonly access: Pick<RunAccess, "onEvent" | "onWaiting">;
  readonly log: Logger;
  readonly namespace: string;
  /** What events are related to. Null if no events are sent. */
  readonly related: readonly EventResource[] | null;
  /** The flow run does not wait for its pod any more. */
  onUnwanted(): void;
}

/** The reference's words, for a pod that is not ill. */
const usualReason = "Kubernetes pod is pending.";

/** The reports about one flow run. */
export class PodReports {
  /** The id of the last event about each pod. */
  readonly #events = new Map<string, string>();
  /** The diagnoses that were logged. Some alternate, such as a failed pull and the wait for the next one. */
  readonly #logged = new Set<string>();
  #reason: string | null = null;
  #reporting: Promise<void> = Promise.resolve();

  constructor(private readonly targets: ReportTargets) {}

  /** A pod is new or has changed. */
  onPod(pod: PodFacts): void {
    const { access, namespace, related } = this.targets;
    const id = podEventId(pod);
    if (related !== null && this.#events.get(pod.uid) !== id) access.onEvent(toPodEvent(pod, { namespace, related }));
    this.#events.set(pod.uid, id);
    // The node may set the phase later than the state of the container.
    const isWaiting = pod.phase === "Pending" && !pod.hasStarted;
    if (pod.diagnosis) this.onDiagnosis(pod.diagnosis, isWaiting);
    else if (isWaiting && this.#reason === null) this.#wait(usualReason);
  }

  /** Logs a diagnosis once. If the flow run waits because of it, its state says so. */
  onDiagnosis(diagnosis: Diagnosis, isWaiting: boolean): void {
    const key = diagnosisKey(diagnosis);
    if (this.#logged.has(key)) return;
    this.#logged.add(key);
    const text = describeDiagnosis(diagnosis);
    this.targets.log[diagnosis.level](text);
    if (isWaiting) this.#wait(text);
  }

  /** The reason why the flow run waits; null if it never did. */
  get reason(): string | null {
    return this.#reason === usualReason ? null : this.#reason;
  }

  /** Finds out whether the flow run still waits. Somebody may have ended it, or scheduled it again. */
  check(): void {
    this.#wait(this.#reason ?? usualReason);
  }

  /** One report at a time, because a late one would replace a later reason. */
  #wait(reason: string): void {
    this.#reason = reason;
    this.#reporting = this.#reporting.then(async () => {
      if (!(await this.targets.access.onWaiting(reason))) this.targets.onUnwanted();
    });
  }
}
