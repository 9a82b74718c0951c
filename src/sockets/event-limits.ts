// What the server accepts in one event. An event over a limit makes the server close the socket. Pure.
// Source: prefect server/events/schemas/events.py enforce_maximum_labels, enforce_maximum_related_resources.
import type { EventResource, PrefectEvent } from "../api/wire.ts";

/** The settings of these names; they are the server's own, so both sides should be given the same. */
export interface EventLimits {
  PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: number;
  PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE: number;
  PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES: number;
}

/** The labels that a resource cannot do without. */
const requiredLabels = ["prefect.resource.id", "prefect.resource.role", "prefect.resource.name"];

/**
 * Returns the event within the limits, and how many related resources it had to leave out. Tags are left out first,
 * the last ones before the others, because each of them is only a label; then the last of what remains. Returns
 * undefined for an event that is too large even without related resources.
 */
export function fitEvent(event: PrefectEvent, limits: EventLimits): { event: PrefectEvent; left: number } | undefined {
  const maxLabels = limits.PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE;
  const fitted = {
    ...event,
    resource: cutLabels(event.resource, maxLabels),
    related: event.related.map((resource) => cutLabels(resource, maxLabels)),
  };
  const sizes = fitted.related.map((resource) => bytesOf(resource) + 1);
  let bytes = bytesOf(fitted);
  let kept = fitted.related.length;
  const isLeft = fitted.related.map(() => false);
  for (const index of leastImportantFirst(fitted.related)) {
    const fits =
      kept <= limits.PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES &&
      bytes <= limits.PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES;
    if (fits) break;
    isLeft[index] = true;
    bytes -= sizes[index] ?? 0;
    kept--;
  }
  if (bytes > limits.PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES) return undefined;
  const related = fitted.related.filter((_, index) => !isLeft[index]);
  return { event: { ...fitted, related }, left: fitted.related.length - related.length };
}

/** Indices of related resources: tags from the last to the first, then the others. */
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
