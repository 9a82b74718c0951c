// A model of the API server of a Kubernetes cluster with its database, as far as lictor meets it: versions, lists in pages,
// watches, and what it refuses. What happens to the objects is up to `job-controller.ts` and `nodes.ts`.
// `test/kubernetes/model.test.ts` compares both with a real cluster. Source: Kubernetes 1.34.4, API concepts.
import type { JsonObject } from "../../src/api/wire.ts";
import type {
  JobObject,
  KubernetesObject,
  ObjectMeta,
  PodObject,
} from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { epochMs, type VirtualClock } from "./virtual-clock.ts";

/** A stored object. Nobody changes it: each change makes a new one. */
export type Stored = (JobObject | PodObject) & { readonly metadata: StoredMeta };
/** The metadata that the server keeps. */
export type StoredMeta = ObjectMeta & { readonly finalizers?: readonly string[] };
/** The resources that have watches. */
export type Plural = "jobs" | "pods";

/** A request without its host. */
export interface ApiCall {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: JsonObject;
}

/** A response. Text is sent as it is. */
export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** A line of a watch. */
export interface WatchLine {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: unknown;
}

/** What the rest of the cluster does with requests. */
export interface Reactions {
  /** A Job was created. */
  onJobCreated(job: JobObject): void;
  /** A Job is to be deleted. */
  deleteJob(job: JobObject, propagationPolicy: string): void;
  /** The events about an object, by its uid or its name. */
  eventsAbout(uidOrName: string): object[];
  /** Returns why a Job cannot be created, or null. */
  refusalOf(manifest: JobObject): ApiAnswer | null;
}

interface Change {
  readonly version: number;
  readonly plural: Plural;
  readonly line: WatchLine & { readonly object: Stored };
}

/** Pages are small, so that lists have several. */
const pageSize = 2;
const firstVersion = 100;

/** The server. It executes requests one after the other. */
export class ApiServer {
  readonly jobs = new Map<string, JobObject>();
  readonly pods = new Map<string, PodObject>();
  /** While it is down, connections are refused, and controllers and nodes cannot change anything. */
  isDown = false;
  /** Whether the worker may read what identifies the cluster. */
  tellsUid = true;
  reactions: Reactions | undefined;
  #version = firstVersion;
  /** Older versions are forgotten. */
  #oldest = 0;
  #changes: Change[] = [];
  /** The rests of lists, by the token that continues them. */
  readonly #pages = new Map<string, { readonly version: number; readonly objects: readonly Stored[] }>();
  readonly #followers = new Set<(change: Change) => void>();

  constructor(private readonly clock: Pick<VirtualClock, "now">) {}

  /** The time of the cluster, in RFC 3339 with whole seconds. */
  time(laterMs = 0): string {
    return new Date(epochMs + Math.floor(this.clock.now + laterMs)).toISOString().replace(/\.\d+/, "");
  }

  /** Stores an object and tells the watches. Returns it with its version. */
  put<O extends JobObject | PodObject>(plural: Plural, object: O): O {
    const { name } = object.metadata;
    const objects = this.#objects(plural);
    const stored = this.#next(object);
    const type = objects.has(name) ? "MODIFIED" : "ADDED";
    objects.set(name, stored);
    this.#publish(plural, { type, object: stored });
    return stored;
  }

  /** Removes an object and tells the watches. */
  remove(plural: Plural, { metadata: { name, uid } }: KubernetesObject): void {
    const objects = this.#objects(plural);
    const object = objects.get(name);
    if (object?.metadata.uid !== uid) return;
    objects.delete(name);
    this.#publish(plural, { type: "DELETED", object: this.#next(object) });
  }

  /** Forgets older versions, as compaction does. */
  forget(): void {
    this.#changes = [];
    this.#oldest = this.#version;
  }

  /** Executes one request that is no watch. */
  handle(call: ApiCall): ApiAnswer {
    const { method, path, query, body } = call;
    const [, plural = "", name] = /^.*\/namespaces\/default\/(\w+)(?:\/(.*))?$/.exec(path) ?? [];
    switch (`${method} ${plural}${name === undefined ? "" : "/*"}`) {
      case "GET ":
        return this.#readCluster(path);
      case "GET jobs":
      case "GET pods":
        return this.#list(plural as Plural, query);
      case "GET events":
        return { status: 200, body: this.#events(query) };
      case "POST jobs":
        return this.#create(body as unknown as JobObject);
      case "GET jobs/*":
        return found(this.jobs.get(name ?? ""), "jobs", name);
      case "GET pods/*":
        return this.#readLog((name ?? "").replace(/\/log$/, ""));
      case "DELETE jobs/*":
        return this.#delete(name ?? "", body);
    }
    throw new Error(`the model of the API server knows no ${method} ${path}`);
  }

  /** Begins a watch: calls `onLine` for each change after the version that the call names. Returns what ends it. */
  watch({ path, query }: ApiCall, onLine: (line: WatchLine) => void): () => void {
    const plural = path.endsWith("/jobs") ? "jobs" : "pods";
    const from = Number(query.get("resourceVersion"));
    const selector = query.get("labelSelector") ?? "";
    if (from < this.#oldest) {
      const { body } = expired(`too old resource version: ${from} (${this.#oldest})`);
      onLine({ type: "ERROR", object: body });
      return () => undefined;
    }
    const follow = ({ version, plural: of, line }: Change): void => {
      if (version > from && of === plural && isSelected(line.object, selector)) onLine(line);
    };
    for (const change of this.#changes) follow(change);
    this.#followers.add(follow);
    return () => void this.#followers.delete(follow);
  }

  /** The line that tells a watch how far it is. */
  bookmark(): WatchLine {
    return { type: "BOOKMARK", object: { metadata: { resourceVersion: String(this.#version) } } };
  }

  #objects(plural: Plural): Map<string, Stored> {
    return (plural === "jobs" ? this.jobs : this.pods) as Map<string, Stored>;
  }

  #next<O extends KubernetesObject>(object: O): O {
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
  }

  #publish(plural: Plural, line: Change["line"]): void {
    const change = { version: this.#version, plural, line };
    this.#changes.push(change);
    for (const follow of this.#followers) follow(change);
  }

  #readCluster(path: string): ApiAnswer {
    if (path === "/version") return { status: 200, body: { gitVersion: "v1.34.4" } };
    if (!path.endsWith("/namespaces/kube-system")) throw new Error(`the model of the API server knows no ${path}`);
    if (!this.tellsUid) return refusal(403, "Forbidden", "namespaces is forbidden");
    return { status: 200, body: { metadata: { name: "kube-system", uid: "uid-of-cluster", resourceVersion: "1" } } };
  }

  /** A page continues in the state of the first one. */
  #list(plural: Plural, query: URLSearchParams): ApiAnswer {
    const token = query.get("continue") || null;
    const selector = query.get("labelSelector") ?? "";
    const all = [...this.#objects(plural).values()].filter((object) => isSelected(object, selector));
    const page = token === null ? { version: this.#version, objects: all } : this.#pages.get(token);
    if (!page || page.version < this.#oldest) return expired("The provided continue parameter is too old");
    const [items, rest] = [page.objects.slice(0, pageSize), page.objects.slice(pageSize)];
    const next = `${page.version}/${plural}/${rest.length}/${selector}`;
    if (rest.length > 0) this.#pages.set(next, { ...page, objects: rest });
    const metadata = { resourceVersion: String(page.version), ...(rest.length > 0 && { continue: next }) };
    return { status: 200, body: { items, metadata } };
  }

  #create(manifest: JobObject): ApiAnswer {
    const { name } = manifest.metadata;
    if (this.jobs.has(name)) return refusal(409, "AlreadyExists", `jobs.batch "${name}" already exists`);
    const refused = this.reactions?.refusalOf(manifest);
    if (refused) return refused;
    const metadata = { ...manifest.metadata, uid: `uid-${this.#version + 1}`, creationTimestamp: this.time() };
    const job = this.put("jobs", { ...manifest, metadata, status: {} });
    this.reactions?.onJobCreated(job);
    return { status: 201, body: job };
  }

  #delete(name: string, { preconditions, propagationPolicy = "Background" }: JsonObject): ApiAnswer {
    const job = this.jobs.get(name);
    if (!job) return found(undefined, "jobs", name);
    const { uid } = (preconditions ?? {}) as { uid?: string };
    if (uid !== undefined && uid !== job.metadata.uid)
      return refusal(409, "Conflict", `the UID in the precondition (${uid}) does not match`);
    this.reactions?.deleteJob(job, String(propagationPolicy));
    return { status: 200, body: { kind: "Status", status: "Success" } };
  }

  #events(query: URLSearchParams): object {
    const about = /involvedObject\.(?:uid|name)=(.*)$/.exec(query.get("fieldSelector") ?? "")?.[1] ?? "";
    return { items: this.reactions?.eventsAbout(about) ?? [], metadata: { resourceVersion: String(this.#version) } };
  }

  #readLog(name: string): ApiAnswer {
    return this.pods.has(name) ? { status: 200, body: "a line\n" } : found(undefined, "pods", name);
  }
}

function isSelected({ metadata: { labels = {} } }: KubernetesObject, selector: string): boolean {
  const [key = "", value] = selector.split("=");
  return key === "" || (value === undefined ? key in labels : labels[key] === value);
}

function found(object: KubernetesObject | undefined, plural: string, name = ""): ApiAnswer {
  return object ? { status: 200, body: object } : refusal(404, "NotFound", `${plural} "${name}" not found`);
}

function expired(message: string): ApiAnswer {
  return refusal(410, "Expired", message);
}

/** Returns a refusal in the server's form. */
export function refusal(status: number, reason: string, message: string): ApiAnswer {
  return { status, body: { kind: "Status", status: "Failure", code: status, reason, message } };
}
