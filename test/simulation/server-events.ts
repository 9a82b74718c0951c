// The events that the model of the server stores.
import type { JsonObject } from "../../src/api/wire.ts";

/** The events of all flow runs. */
export class ServerEvents {
  readonly #events = new Map<string, { id: string; name: string }[]>();

  constructor(private readonly newId: () => string) {}

  /** Stores an event of a flow run. */
  add(flowRunId: string, name: string): void {
    const events = this.#events.get(flowRunId) ?? [];
    events.push({ id: this.newId(), name });
    this.#events.set(flowRunId, events);
  }

  /** Returns whether the flow run has an event of this name. */
  has(flowRunId: string, name: string): boolean {
    return this.#events.get(flowRunId)?.some((event) => event.name === name) ?? false;
  }

  /** Returns the newest event of a flow run, and how many there are. */
  find({ filter }: JsonObject): object {
    type Filter = { any_resource?: { id: string[] }; resource?: { id: string[] }; event?: { name: string[] } };
    const { any_resource, resource, event } = filter as Filter;
    const id = ((any_resource ?? resource)?.id[0] ?? "").replace("prefect.flow-run.", "");
    const events = (this.#events.get(id) ?? []).filter(({ name }) => event?.name.includes(name) ?? true);
    return { total: events.length, events: events.slice(-1) };
  }
}
