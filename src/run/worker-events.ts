// The events that a worker sends. Source: prefect workers/base.py, events/related.py.
import type { Deployment, EventResource, Flow, FlowRun, PrefectEvent, WorkPool } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import type { InfrastructureEvent } from "../infrastructure/pool-type.ts";
import { randomUuid } from "../random-ids.ts";
import { prefectVersion } from "../version.ts";

/** The worker as the resource of its events. */
export interface WorkerResource {
  name: string;
  /** The name as part of a resource id: see `slugify`. */
  slug: string;
  type: string;
}

/** A flow run and the objects that its events name as related. */
export interface RelatedObjects {
  flowRun: FlowRun;
  flow: Flow | null;
  deployment: Deployment | null;
  workPool: WorkPool;
}

/** Builds the events of a worker and passes them to `emit`. The methods return events that a later event may follow. */
export class WorkerEvents {
  /** When the last event occurred, in ms since 1970. */
  #lastMs = 0;

  constructor(
    private readonly worker: WorkerResource,
    private readonly emit: (event: PrefectEvent) => void,
  ) {}

  /** Sends that the worker has started. */
  started(workPool: WorkPool | undefined): PrefectEvent {
    return this.#send("prefect.worker.started", workPool ? [related("work-pool", workPool)] : [], null);
  }

  /** Sends that the worker has stopped. `started` is the event about its start. */
  stopped(workPool: WorkPool | undefined, started: PrefectEvent | null): PrefectEvent {
    return this.#send("prefect.worker.stopped", workPool ? [related("work-pool", workPool)] : [], started);
  }

  /** Sends that the program of a flow run is about to start. */
  submitted(objects: RelatedObjects): PrefectEvent {
    return this.#send("prefect.worker.submitted-flow-run", relatedTo(objects), null);
  }

  /** Sends that the program of a flow run has ended. `submitted` is the event about its start. */
  executed(objects: RelatedObjects, submitted: PrefectEvent | null, end: { identifier: string; status: number }): void {
    const infrastructure = {
      "prefect.infrastructure.identifier": end.identifier,
      "prefect.infrastructure.status-code": String(end.status),
    };
    this.#send("prefect.worker.executed-flow-run", relatedTo(objects, infrastructure), submitted);
  }

  /** Sends an event about the infrastructure of a flow run. `before` is the last one about the same. */
  infrastructure(
    objects: RelatedObjects,
    { event, resource, related, ...given }: InfrastructureEvent,
    before: PrefectEvent | null,
  ): PrefectEvent {
    if (resource === null) return this.#send(event, relatedTo(objects), before);
    const usual = [...relatedTo(objects), { ...this.#resource(), "prefect.resource.role": "worker" }];
    return this.#send(event, related ? [...related] : usual, before, resource, given);
  }

  /** Sends a heartbeat. Its resource is the flow run. */
  heartbeat(objects: RelatedObjects): void {
    const flowRun = {
      "prefect.resource.id": `prefect.flow-run.${objects.flowRun.id}`,
      "prefect.resource.name": objects.flowRun.name,
      "prefect.version": prefectVersion,
    };
    const related = relatedTo(objects).filter(
      (resource) => !/^(flow-run|work-pool)$/.test(resource["prefect.resource.role"] ?? ""),
    );
    this.#send("prefect.flow-run.heartbeat", related, null, flowRun);
  }

  /** Sends that a flow run was cancelled. Its resource is the runner inside the worker, as in the reference. */
  cancelled(objects: RelatedObjects): void {
    const runner = {
      "prefect.resource.id": "prefect.runner.standalone",
      "prefect.resource.name": "standalone",
      "prefect.version": prefectVersion,
    };
    const related = relatedTo(objects).filter((resource) => resource["prefect.resource.role"] !== "work-pool");
    this.#send("prefect.runner.cancelled-flow-run", related, null, runner);
  }

  #send(
    name: string,
    relatedResources: EventResource[],
    before: PrefectEvent | null,
    resource: EventResource = this.#resource(),
    { id, occurred }: Pick<InfrastructureEvent, "id" | "occurred"> = {},
  ): PrefectEvent {
    // No two events have the same time, because readers sort by it.
    if (!occurred) this.#lastMs = Math.max(wallClockMs(), this.#lastMs + 1);
    const at = occurred ? Date.parse(occurred) : this.#lastMs;
    const event: PrefectEvent = {
      id: id ?? uuidv7(at),
      occurred: new Date(at).toISOString(),
      event: name,
      resource,
      related: relatedResources,
      payload: {},
      follows: before && Math.abs(at - Date.parse(before.occurred)) < followsWithinMs ? before.id : null,
    };
    this.emit(event);
    return event;
  }

  #resource(): EventResource {
    return {
      "prefect.resource.id": `prefect.worker.${this.worker.type}.${this.worker.slug}`,
      "prefect.resource.name": this.worker.name,
      "prefect.version": prefectVersion,
      "prefect.worker-type": this.worker.type,
    };
  }
}

/** Servers ignore `follows` when more time lies between the events. Source: prefect events/utilities.py TIGHT_TIMING. */
const followsWithinMs = 5 * 60_000;

function related(kind: string, object: { id: string; name: string }): EventResource {
  return {
    "prefect.resource.id": `prefect.${kind}.${object.id}`,
    "prefect.resource.role": kind,
    "prefect.resource.name": object.name,
  };
}

function relatedTo({ flowRun, flow, deployment, workPool }: RelatedObjects, infrastructure = {}): EventResource[] {
  const tags = new Set([...flowRun.tags, ...(flow?.tags ?? []), ...(deployment?.tags ?? [])]);
  return [
    ...(deployment ? [{ ...related("deployment", deployment), ...deploymentLabels(deployment) }] : []),
    ...(flow ? [related("flow", flow)] : []),
    { ...related("flow-run", flowRun), ...infrastructure },
    ...[...tags].sort().map((tag) => ({ "prefect.resource.id": `prefect.tag.${tag}`, "prefect.resource.role": "tag" })),
    related("work-pool", workPool),
  ];
}

function deploymentLabels(deployment: Deployment): EventResource {
  const labels: Record<string, string | null | undefined> = {
    "prefect.deployment.branch": deployment.branch,
    "prefect.deployment.base": deployment.base,
    "prefect.deployment.root": deployment.root,
    "prefect.deployment.version-id": deployment.version_id,
    "prefect.deployment.version-type": deployment.version_info?.type,
    "prefect.deployment.version": deployment.version_info?.version,
  };
  return Object.fromEntries(Object.entries(labels).flatMap(([label, value]) => (value ? [[label, value]] : [])));
}

/** Returns a UUID of version 7, which sorts by time. `now` is in ms since 1970. Source: RFC 9562 section 5.7. */
export function uuidv7(now: number): string {
  const time = now.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUuid().slice(15)}`;
}
