// A table of the objects of one type in one namespace: one list, and one watch that continues it.
// It is level-triggered: what counts is how an object is now, not which events came. Source: Kubernetes API concepts,
// "Efficient detection of changes".
import { delayMs } from "../../../api/retry.ts";
import { startTimer } from "../../../async/clock.ts";
import { clampedPoissonMs } from "../../../async/jitter.ts";
import { LinkedController } from "../../../async/linked-controller.ts";
import { aborted, sleep } from "../../../async/sleep.ts";
import type { Logger } from "../../../logger.ts";
import type { Cluster } from "./cluster.ts";
import { ClusterError, isExpired } from "./cluster-error.ts";
import { listPages } from "./objects.ts";
import { type KubernetesObject, pathOf, type Resource } from "./resources.ts";
import { type WatchEvent, watchEvents, watchQuery } from "./watch-events.ts";
import { WatchHealth } from "./watch-health.ts";

/** Which objects the table has, what it keeps of them, and who is told of changes. */
export interface TableOptions<O extends KubernetesObject, Row> {
  readonly cluster: Cluster;
  readonly resource: Resource<O>;
  readonly namespace: string;
  /** Such as `prefect.io/flow-run-id`. */
  readonly labelSelector: string;
  /** Returns what the table keeps of an object. There may be thousands, so this is little. */
  toRow(object: O): Row;
  /** An object is new or has changed. After a gap, changes in between are not seen. An error is logged. */
  onChanged(row: Row, object: O): void;
  /** An object is gone. `last` is how it was at its end; null if this was in a gap. An error is logged. */
  onDeleted(row: Row, last: O | null): void;
  /** The table is complete: after each list, also after one that ended a gap. An error is logged. */
  onSynced?(): void;
  readonly log: Logger;
  /** The longest silence of a watch. The default is 70 s, because the API server sends a bookmark every 60 s. */
  readonly silenceMs?: number;
}

interface Entry<Row> {
  readonly row: Row;
  readonly version: string;
}

const usualSilenceMs = 70_000;
/** The longest pause before a list or a watch is tried again. */
const longestPauseMs = 30_000;
const firstPauseMs = 200;
const jitter = 0.3;
/** A watch that ends sooner and says nothing counts as a failure, so that it is not repeated at once for ever. */
const shortWatchMs = 1_000;
const listLimitMs = 60_000;

/** The table. It begins to fill when it is made, and never gives up until it is disposed of. */
export class Table<O extends KubernetesObject, Row> implements Disposable {
  readonly #entries = new Map<string, Entry<Row>>();
  readonly #end = new AbortController();
  readonly #synced: { readonly promise: Promise<void>; readonly resolve: () => void } = deferred();
  /** The version from which the watch continues. Null: a list is needed first. */
  #version: string | null = null;
  #isSynced = false;
  #hasWorked = false;
  readonly #name: string;
  readonly #health: WatchHealth;

  constructor(private readonly options: TableOptions<O, Row>) {
    const { cluster, resource, namespace, log } = options;
    this.#name = `${resource.plural} in namespace '${namespace}'`;
    this.#health = new WatchHealth(this.#name, cluster.outage, log);
    void this.#run();
  }

  /** Whether there has been a complete list. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Why the table is not up to date now; null if it is. */
  get problem(): string | null {
    return this.#health.problem;
  }

  /** The time since the last event, bookmark, list or begin of a watch in ms. Null before the first list. */
  get ageMs(): number | null {
    return this.#health.ageMs;
  }

  /** How many objects there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** Waits for the first complete list, or until `signal` aborts. */
  async synced(signal: AbortSignal): Promise<void> {
    using over = new LinkedController(signal, this.#end.signal);
    await Promise.race([this.#synced.promise, aborted(over.signal)]);
  }

  /** Returns what is kept of the object with this uid. */
  get(uid: string): Row | undefined {
    return this.#entries.get(uid)?.row;
  }

  /** Returns what is kept of all objects. */
  *all(): Generator<Row> {
    for (const { row } of this.#entries.values()) yield row;
  }

  [Symbol.dispose](): void {
    this.#end.abort(new Error("the table is not needed any more"));
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    for (let failed = 0; !signal.aborted; ) {
      let error: unknown = null;
      const continued = this.#version !== null;
      this.#hasWorked = false;
      try {
        if (this.#version === null) await this.#list(signal);
        await this.#watch(this.#version ?? "", signal);
      } catch (thrown) {
        error = thrown;
      }
      if (signal.aborted) return;
      if (this.#hasWorked) failed = 0;
      if (continued && isExpired(error)) {
        // Usual after an outage. The server answers, so the list need not wait.
        this.#version = null;
        failed = 0;
        continue;
      }
      if (!this.#hasWorked || error !== null) failed += 1;
      // A version that is refused again and again is of no use, even if the server does not say that it is too old.
      if (isExpired(error) || (error instanceof ClusterError && failed % 3 === 0)) this.#version = null;
      if (error !== null) this.#health.failed(error, failed);
      if (failed > 0) await sleep(pauseMs(failed, error, this.options.cluster.transport.random), signal);
    }
  }

  /** Reads the whole list. What is not in it has been deleted meanwhile. */
  async #list(signal: AbortSignal): Promise<void> {
    const { cluster, resource, namespace, labelSelector } = this.options;
    const options = { signal, limitMs: listLimitMs, retries: 0 };
    let listed = new Set<string>();
    let version = "";
    for await (const page of listPages(cluster, resource, namespace, { labelSelector }, options)) {
      if (page.isRestart) listed = new Set();
      for (const object of page.items) {
        listed.add(object.metadata.uid);
        this.#change(object);
      }
      version = page.resourceVersion;
      this.#health.sign();
    }
    for (const uid of [...this.#entries.keys()]) if (!listed.has(uid)) this.#delete(uid, null);
    this.#version = version;
    this.#isSynced = true;
    this.#synced.resolve();
    this.#guard(() => this.options.onSynced?.());
  }

  /** Follows the changes until the stream ends or falls silent. */
  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const { cluster, resource, namespace, labelSelector, silenceMs = usualSilenceMs } = this.options;
    using round = new LinkedController(signal);
    const query = watchQuery(labelSelector, version, cluster.transport.random);
    const response = await cluster.open(pathOf(resource, namespace), { query, signal: round.signal, retries: 0 });
    const explainLost = (error: unknown) => cluster.explainLostStream(error, { signal });
    const endTrial = startTimer(shortWatchMs, () => this.#works());
    try {
      for await (const event of watchEvents<O>(response, { round, silenceMs, explainLost })) {
        this.#apply(event);
        this.#works();
      }
    } finally {
      endTrial();
    }
  }

  #apply(event: WatchEvent<O>): void {
    const { cluster, resource, namespace } = this.options;
    if (event.type === "ERROR") {
      const { server, origin } = cluster.access;
      const call = { method: "GET", path: pathOf(resource, namespace), server, origin };
      throw new ClusterError(event.object.code ?? 500, event.object, call);
    }
    if (event.type === "DELETED") this.#delete(event.object.metadata.uid, event.object);
    if (event.type === "ADDED" || event.type === "MODIFIED") this.#change(event.object);
    this.#version = event.object.metadata.resourceVersion;
  }

  #change(object: O): void {
    const { uid, resourceVersion: version } = object.metadata;
    if (this.#entries.get(uid)?.version === version) return;
    this.#guard(() => {
      const row = this.options.toRow(object);
      this.#entries.set(uid, { row, version });
      this.options.onChanged(row, object);
    });
  }

  #delete(uid: string, last: O | null): void {
    const entry = this.#entries.get(uid);
    if (!entry) return;
    this.#entries.delete(uid);
    this.#guard(() => this.options.onDeleted(entry.row, last));
  }

  /** One object that cannot be dealt with must not end the watch of the others. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.options.log.error({ err: error }, `A change of ${this.#name} was not dealt with`);
    }
  }

  /** The watch has said something, or has lasted for a while. Others end as soon as they have begun. */
  #works(): void {
    this.#hasWorked = true;
    this.#health.works();
  }
}

/** Returns how long to wait after so many failures in a row: 0.2 s, then 1, 2, 4 … 30 s, or what the server asks for. */
function pauseMs(failed: number, error: unknown, random: () => number): number {
  const asked = error instanceof ClusterError ? error.retryAfterMs : undefined;
  if (asked !== undefined) return delayMs(failed, asked, jitter, random);
  const averageMs = failed === 1 ? firstPauseMs : Math.min(1_000 * 2 ** (failed - 2), longestPauseMs);
  return Math.min(clampedPoissonMs(averageMs, jitter, random), longestPauseMs);
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((found) => {
    resolve = found;
  });
  return { promise, resolve };
}
