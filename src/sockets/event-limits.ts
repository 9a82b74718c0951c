// Cuts events to the limits of the server, because the server closes the socket for an event over a limit. Pure.
// Source: prefect server/events/schemas/events.py enforce_maximum_labels, enforce_maximum_related_resources.
import type { EventResource, PrefectEvent } from "../api/wire.ts";

/** The server's settings of these names. The user should set them to the same values for lictor. */
export interface EventLimits {
  PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: number;
  PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE: number;
  PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES: number;
}

/** The labels that a resource must keep. */
const requiredLabels = ["prefect.resource.id", "prefect.resource.role", "prefect.resource.name"];

/**
 * Returns the event within the limits, and how many related resources were omitted. Omits tags first, because they
 * carry the least information, and then the other resources. In both groups the last are omitted first. Returns
 * undefined for an event that is too large even without related resources.
 */
export function fitEvent(
  event: PrefectEvent,
  limits: EventLimits,
): { event: PrefectEvent; omittedCount: number } | undefined {
  const maxLabels = limits.PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE;
  const fitted = {
    ...event,
    resource: cutLabels(event.resource, maxLabels),
    related: event.related.map((resource) => cutLabels(resource, maxLabels)),
  };
  const sizes = fitted.related.map((resource) => bytesOf(resource) + 1);
  let bytes = bytesOf(fitted);
  let kept = fitted.related.length;
  const isOmitted = fitted.related.map(() => false);
  for (const index of leastImportantFirst(fitted.related)) {
    const fits =
      kept <= limits.PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES &&
      bytes <= limits.PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES;
    if (fits) break;
    isOmitted[index] = true;
    bytes -= sizes[index] ?? 0;
    kept--;
  }
  if (bytes > limits.PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES) return undefined;
  const related = fitted.related.filter((_, index) => !isOmitted[index]);
  return { event: { ...fitted, related }, omittedCount: fitted.related.length - related.length };
}

/** Returns the indices of the related resources: tags from last to first, then the others from last to first. */
function leastImportantFirst(related: readonly EventResource[]): number[] {
  const indices = related.map((_, index) => index).reverse();
  const isTag = (index: number): boolean => related[index]?.["prefect.resource.role"] === "tag";
  return [...indices.filter(isTag), ...indices.filter((index) => !isTag(index))];
}

function cutLabels(resource: EventResource, maxLabels: number): EventResource {
  const labels = Object.entries(resource);
  if (labels.length <= maxLabels) return resource;
  const required = labels.filter(([name]) => requiredLabels.includes(name));
  const others = labels.filter(([name]) => !requiredLabels.includes(name));
  return Object.fromEntries([...required, ...others].slice(0, Math.max(maxLabels, 1)));
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
