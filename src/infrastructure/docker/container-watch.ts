// Watches all containers of the program by one stream of events, and by a look at the list of containers.
import { constants } from "node:os";
import { jsonLines } from "../../api/json-lines.ts";
import type { JsonObject } from "../../api/wire.ts";
import { timeoutSignal } from "../../async/clock.ts";
import { LinkedController } from "../../async/linked-controller.ts";
import { sleep } from "../../async/sleep.ts";
import { isJsonObject } from "../../job/template.ts";
import type { Logger } from "../../logger.ts";
import { type ContainerDetails, type ContainerState, inspect, listContainers } from "./container-details.ts";
import { ownLabel } from "./container-labels.ts";
import { type Engine, isPodman } from "./engine/engine.ts";
import { isMissing } from "./engine/engine-error.ts";
import type { Patience } from "./engine/patience.ts";

/** How a container ended. */
export interface ContainerEnd {
  /** Null if the container was removed before anybody read it. */
  readonly exitCode: number | null;
  readonly wasOutOfMemory: boolean;
  /** The engine's reason, if it has one. */
  readonly error: string;
  /** The status of the container: `exited`, `dead`, or `removing`. */
  readonly status: string;
}

interface Watched {
  readonly resolve: (end: ContainerEnd) => void;
  readonly end: Promise<ContainerEnd>;
  /** What the events said. It counts if the container is gone when it is looked at. */
  exitCode: number | null;
  wasOutOfMemory: boolean;
}

/** The whole list is looked at this often, in case an event was lost, or a connection died unnoticed. */
const lookMs = 60_000;
/** The pause before the stream of events is opened again. */
const reopenMs = 1_000;
/** The engine may send the event about an end before it notes the end. */
const secondLookMs = 500;
/** On a busy machine, the event that the memory ran out comes after the one about the end. */
const outOfMemoryEventMs = 2_000;

/** The ends of containers. */
export class ContainerWatch implements Disposable {
  readonly #watched = new Map<string, Watched>();
  readonly #over = new AbortController();
  #running = false;

  constructor(
    readonly engine: Engine,
    private readonly patience: Patience,
    private readonly log: Logger,
  ) {}

  /** Returns how the container ends. Never rejects. Watching ends with `unwatch`. */
  watch(id: string): Promise<ContainerEnd> {
    const known = this.#watched.get(id);
    if (known) return known.end;
    const { promise, resolve } = promiseWithResolver<ContainerEnd>();
    this.#watched.set(id, { resolve, end: promise, exitCode: null, wasOutOfMemory: false });
    if (!this.#running) void this.#run();
    return promise;
  }

  /** Looks at a container at once, because it may have ended before it was watched. */
  async look(id: string): Promise<void> {
    const watched = this.#watched.get(id);
    if (!watched) return;
    try {
      const details = await this.patience.whileAway(() => inspect(this, id, this.#over.signal), this.#over.signal);
      if (mayLackReason(details.State) && !watched.wasOutOfMemory) await sleep(outOfMemoryEventMs, this.#over.signal);
      this.#note(id, details);
    } catch (error) {
      if (isMissing(error)) this.#gone(id);
      else if (!this.#over.signal.aborted) this.log.debug({ err: error }, `Container ${id} could not be looked at`);
    }
  }

  /** Returns whether the container is watched. */
  has(id: string): boolean {
    return this.#watched.has(id);
  }

  /** Forgets the container. */
  unwatch(id: string): void {
    this.#watched.delete(id);
  }

  [Symbol.dispose](): void {
    this.#over.abort(new Error("the program ends"));
  }

  /** Follows the events while anything is watched. */
  async #run(): Promise<void> {
    this.#running = true;
    const { signal } = this.#over;
    while (!signal.aborted && this.#watched.size > 0) {
      try {
        await this.#follow(signal);
      } catch (error) {
        if (!signal.aborted) this.log.debug({ err: error }, "The events of the Docker engine are read again");
      }
      await sleep(reopenMs, signal);
    }
    this.#running = false;
  }

  /** Reads events until the stream ends, or until it is time to look at all containers. */
  async #follow(signal: AbortSignal): Promise<void> {
    using round = new LinkedController(signal, timeoutSignal(lookMs));
    const events = await this.patience.whileAway(async () => {
      // Podman compares a label with its value, so a filter for any value would let nothing pass.
      const isOwn = isPodman(await this.engine.version(round.signal)) ? {} : { label: [ownLabel] };
      const query = { filters: { type: ["container"], ...isOwn } };
      return await this.engine.open("GET", "/events", { query, signal: round.signal });
    }, round.signal);
    // From here on events are received, so nothing is missed between this look and the next event.
    await this.#lookAtAll(signal);
    for await (const event of jsonLines(events)) this.#onEvent(event);
  }

  async #lookAtAll(signal: AbortSignal): Promise<void> {
    // Many ended ones may be kept. A watched container that does not run may have ended, so it is looked at.
    const list = await listContainers(this, ownLabel, { all: false, signal });
    this.patience.answered();
    const running = new Set(list.map(({ Id }) => Id));
    const looks = [...this.#watched.keys()].filter((id) => !running.has(id));
    await Promise.all(looks.map((id) => this.look(id)));
  }

  #onEvent({ Action, status, Actor, id }: JsonObject): void {
    const actor = isJsonObject(Actor) ? Actor : {};
    const container = String(actor.ID ?? id ?? "");
    const watched = this.#watched.get(container);
    if (!watched) return;
    const action = String(Action ?? status ?? "");
    const attributes = isJsonObject(actor.Attributes) ? actor.Attributes : {};
    if (action === "oom") watched.wasOutOfMemory = true;
    const isDeath = action === "die" || action === "died";
    if (!isDeath && action !== "destroy" && action !== "remove") return;
    // Podman's event about a removal has the exit code 0.
    const exitCode = Number((isDeath && (attributes.exitCode ?? attributes.containerExitCode)) || Number.NaN);
    if (Number.isInteger(exitCode)) watched.exitCode = exitCode;
    void this.look(container)
      .then(() => sleep(secondLookMs, this.#over.signal))
      .then(() => this.look(container));
  }

  /** A container that is restarted by its policy has not ended. */
  #note(id: string, { State }: ContainerDetails): void {
    if (!isEnded(State.Status)) return;
    this.#end(id, toEnd(State, this.#watched.get(id)?.wasOutOfMemory ?? false));
  }

  #gone(id: string): void {
    const { exitCode = null, wasOutOfMemory = false } = this.#watched.get(id) ?? {};
    this.#end(id, { exitCode, wasOutOfMemory, error: "", status: "removing" });
  }

  #end(id: string, end: ContainerEnd): void {
    this.#watched.get(id)?.resolve(end);
    this.#watched.delete(id);
  }
}

/** Returns whether the container was killed, and the engine may not know yet that its memory had run out. */
function mayLackReason({ Status, ExitCode, OOMKilled }: ContainerState): boolean {
  return isEnded(Status) && ExitCode === 128 + constants.signals.SIGKILL && !OOMKilled;
}

/** Returns whether a container with this status will not run again by itself. */
export function isEnded(status: string): boolean {
  return status === "exited" || status === "dead" || status === "stopped" || status === "removing";
}

function toEnd({ ExitCode, OOMKilled, Error: error, Status }: ContainerState, wasOutOfMemory: boolean): ContainerEnd {
  return { exitCode: ExitCode, wasOutOfMemory: OOMKilled || wasOutOfMemory, error: error ?? "", status: Status };
}

function promiseWithResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((found) => {
    resolve = found;
  });
  return { promise, resolve };
}
