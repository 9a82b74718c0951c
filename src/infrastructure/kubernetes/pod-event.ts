// The events about pods. Source: prefect_kubernetes/observer.py _replicate_pod_event.
import { createHash } from "node:crypto";
import type { EventResource } from "../../api/wire.ts";
import { slugify } from "../../job/slug.ts";
import { prefectVersion } from "../../version.ts";
import type { InfrastructureEvent } from "../pool-type.ts";
import type { PodFacts } from "./pod-facts.ts";

/** The labels of a pod. */
type Labels = Readonly<Record<string, string>>;

/** The Job of a pod, as far as events name it. */
export interface EventContext {
  readonly namespace: string;
  readonly related: readonly EventResource[];
}

/** Returns the event about the phase of a pod. Replicas and later workers make the same event, with the same id. */
export function toPodEvent(pod: PodFacts, { namespace, related }: EventContext): InfrastructureEvent {
  const { uid, name, phase, end, diagnosis, isDisrupted, since } = pod;
  // The reference calls each failed pod evicted. Here, an eviction is one.
  const isEvicted = phase === "Failed" && isDisrupted;
  return {
    event: `prefect.kubernetes.pod.${isEvicted ? "evicted" : phase.toLowerCase()}`,
    resource: {
      "prefect.resource.id": `prefect.kubernetes.pod.${uid}`,
      "prefect.resource.name": name,
      "kubernetes.namespace": namespace,
      ...(diagnosis && { "kubernetes.diagnosis": diagnosis.category }),
      ...(phase === "Failed" && (end?.reason || isEvicted) && { "kubernetes.reason": end?.reason || "Evicted" }),
    },
    id: podEventId(pod),
    occurred: since,
    related,
  };
}

/** Returns the id of the event: a UUID of version 5 of what makes it another event. */
export function podEventId({ uid, phase, restarts, diagnosis }: PodFacts): string {
  const category = diagnosis ? JSON.stringify(diagnosis.category) : "null";
  // The text is that of Python's json.dumps with sorted keys.
  const text = `{"diagnosis": ${category}, "phase": ${JSON.stringify(phase)}, "restart_count": ${restarts}, "uid": ${JSON.stringify(uid)}}`;
  return uuidv5(urlNamespace, text);
}

/** Source: RFC 9562 section 6.6. */
const urlNamespace = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";

function uuidv5(namespace: string, text: string): string {
  const bytes = createHash("sha1")
    .update(Buffer.from(namespace.replaceAll("-", ""), "hex"))
    .update(text)
    .digest();
  bytes[6] = 0x50 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  return bytes.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Returns what events about pods with these labels are related to. Source: observer.py _related_resources_from_labels. */
export async function relatedTo(labels: Labels): Promise<EventResource[]> {
  const kinds = ["flow-run", "deployment", "flow", "work-pool"] as const;
  const related = kinds.flatMap((kind): EventResource[] => {
    const id = labels[`prefect.io/${kind}-id`];
    if (id === undefined) return [];
    return [
      {
        "prefect.resource.id": `prefect.${kind}.${id}`,
        "prefect.resource.role": kind,
        "prefect.resource.name": labels[`prefect.io/${kind}-name`] ?? "",
      },
    ];
  });
  const worker = labels["prefect.io/worker-name"];
  if (worker === undefined) return related;
  return [
    ...related,
    {
      "prefect.resource.id": `prefect.worker.kubernetes.${await slugify(worker)}`,
      "prefect.resource.role": "worker",
      "prefect.resource.name": worker,
      "prefect.worker-type": "kubernetes",
      "prefect.version": prefectVersion,
    },
  ];
}
