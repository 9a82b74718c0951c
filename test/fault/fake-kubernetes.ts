// An API server in the test process, for what a healthy one will not do. It keeps objects, lists them in pages and sends watches.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type { JsonObject } from "../../src/api/wire.ts";
import { Cluster } from "../../src/infrastructure/kubernetes/cluster/cluster.ts";
import { findCluster } from "../../src/infrastructure/kubernetes/cluster/find-cluster.ts";
import { Outage } from "../../src/infrastructure/kubernetes/cluster/outage.ts";
import type { KubernetesObject } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import type { Logger } from "../../src/logger.ts";
import { listenOnLoopback } from "../support/listen-on-loopback.ts";
import {
  type Answer,
  forbidden,
  json,
  type KubernetesRequest,
  missing,
  parseRequest,
  status,
} from "./kubernetes-answers.ts";

/** An object as a test makes it. */
export type FakeObject = JsonObject & { metadata: { name: string; namespace?: string; [key: string]: unknown } };

/** The server. A test may change all fields at any time. */
export interface FakeKubernetes extends AsyncDisposable {
  url: string;
  requests: KubernetesRequest[];
  /** Looked at before all else; the first that is not undefined answers. */
  faults: ((request: KubernetesRequest) => Answer | undefined)[];
  /** The bearer tokens that are accepted; null: all, and none. */
  tokens: Set<string> | null;
  /** What RBAC does not allow. */
  isDenied(request: Pick<KubernetesRequest, "verb" | "resource" | "namespace">): boolean;
  namespaces: Set<string>;
  /** The output of pods by name. */
  logs: Map<string, string>;
  /** Creates an object, or replaces one of this name. Returns it with uid and version. */
  put(plural: string, object: FakeObject): KubernetesObject;
  remove(plural: string, namespace: string, name: string): void;
  /** Forgets older versions, so that a watch or a list from them gets 410. */
  forget(): void;
  /** Sends a bookmark to all watches. */
  bookmark(): void;
  /** Ends the connections of all watches, in the middle or properly. */
  endWatches(how: "cut" | "end"): void;
  /** The open watches, by `<plural>/<namespace>`. */
  watches(): string[];
  /** A watch that is silent gets nothing, but is not closed. */
  isSilent: boolean;
  /** How far its clock is ahead of that of this machine. */
  aheadMs: number;
  stop(): Promise<void>;
  start(): Promise<void>;
}

interface Change {
  version: number;
  type: "ADDED" | "MODIFIED" | "DELETED";
  plural: string;
  object: KubernetesObject;
}

interface Watch {
  plural: string;
  namespace: string;
  selector: string;
  response: ServerResponse;
}

/** Starts the server, with the namespaces `default` and `kube-system`. */
export async function startFakeKubernetes(): Promise<FakeKubernetes> {
  const objects = new Map<string, Map<string, KubernetesObject>>();
  const watches = new Set<Watch>();
  const pages = new Map<string, { items: KubernetesObject[]; version: string }>();
  let changes: Change[] = [];
  let version = 100;
  let oldest = 0;
  let server: Awaited<ReturnType<typeof listenOnLoopback>> | undefined;

  const ofPlural = (plural: string): Map<string, KubernetesObject> => {
    const found = objects.get(plural) ?? new Map();
    objects.set(plural, found);
    return found;
  };
  const keyOf = ({ metadata: { namespace = "default", name } }: Pick<KubernetesObject, "metadata">) =>
    `${namespace}/${name}`;

  const note = (type: Change["type"], plural: string, object: KubernetesObject): KubernetesObject => {
    const changed = { ...object, metadata: { ...object.metadata, resourceVersion: String(++version) } };
    changes.push({ version, type, plural, object: changed });
    if (!fake.isSilent)
      for (const watch of watches) if (isFor(watch, plural, changed)) send(watch, { type, object: changed });
    return changed;
  };

  const fake: FakeKubernetes = {
    url: "",
    requests: [],
    faults: [],
    tokens: null,
    isDenied: () => false,
    namespaces: new Set(["default", "kube-system"]),
    logs: new Map(),
    isSilent: false,
    aheadMs: 0,
    put(plural, object) {
      const key = keyOf(object as unknown as KubernetesObject);
      const old = ofPlural(plural).get(key);
      const metadata = {
        namespace: "default",
        uid: old?.metadata.uid ?? randomUUID(),
        creationTimestamp: now().toISOString(),
        ...object.metadata,
      };
      const stored = note(old ? "MODIFIED" : "ADDED", plural, { ...object, metadata } as unknown as KubernetesObject);
      ofPlural(plural).set(key, stored);
      return stored;
    },
    remove(plural, namespace, name) {
      const object = ofPlural(plural).get(`${namespace}/${name}`);
      if (!object) return;
      ofPlural(plural).delete(`${namespace}/${name}`);
      note("DELETED", plural, object);
      // The garbage collector. A pod that was told to end stays for its grace time.
      for (const pod of [...ofPlural("pods").values()]) {
        const isOwned = pod.metadata.ownerReferences?.some(({ uid }) => uid === object.metadata.uid);
        if (isOwned && !pod.metadata.deletionTimestamp)
          fake.remove("pods", pod.metadata.namespace ?? "", pod.metadata.name);
      }
    },
    forget() {
      changes = [];
      pages.clear();
      oldest = ++version;
    },
    bookmark() {
      const object = { metadata: { resourceVersion: String(version) } };
      if (!fake.isSilent) for (const watch of watches) send(watch, { type: "BOOKMARK", object });
    },
    endWatches(how) {
      for (const { response } of watches) {
        if (how === "cut") response.socket?.destroy();
        else response.end();
      }
    },
    watches: () => [...watches].map(({ plural, namespace }) => `${plural}/${namespace}`).sort(),
    async start() {
      const port = fake.url === "" ? 0 : Number(new URL(fake.url).port);
      const http = createServer((request, response) => void receive(request, response));
      server = await listenOnLoopback(http, port);
      fake.url = server.origin;
    },
    async stop() {
      fake.endWatches("cut");
      await server?.stop();
    },
    [Symbol.asyncDispose]: () => fake.stop(),
  };

  const now = (): Date => new Date(Date.now() + fake.aheadMs);

  async function receive(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader("date", now().toUTCString());
    const request = { ...parseRequest(incoming), body: await text(incoming).catch(() => "") };
    fake.requests.push(request);
    const answer = fake.faults.map((fault) => fault(request)).find((found) => found !== undefined);
    (answer ?? refusal(request) ?? route(request))(response, request);
  }

  function refusal(request: KubernetesRequest): Answer | undefined {
    const { verb, resource, namespace, headers } = request;
    const token = headers.authorization?.replace("Bearer ", "") ?? "";
    if (fake.tokens && !fake.tokens.has(token)) {
      return status(401, { message: "Unauthorized", reason: "Unauthorized" });
    }
    if (fake.isDenied({ verb, resource, namespace })) return forbidden(request);
    const isKnown = namespace === "" || fake.namespaces.has(namespace);
    if (isKnown || verb !== "create") return undefined;
    const details = { name: namespace, kind: "namespaces" };
    return status(404, { message: `namespaces "${namespace}" not found`, reason: "NotFound", details });
  }

  function route(request: KubernetesRequest): Answer {
    const { method, path, verb, resource, namespace, name, query, body } = request;
    if (path === "/version") return json({ gitVersion: "v1.34.4" });
    if (resource === "selfsubjectaccessreviews") return json(review(JSON.parse(body) as JsonObject));
    if (namespace === "" && resource === "namespaces") return readNamespace(name);
    if (resource === "pods/log") return log(name, query);
    if (verb === "watch") return openWatch(request);
    if (verb === "list") return list(request);
    if (verb === "create") return create(request);
    const found = ofPlural(resource).get(`${namespace}/${name}`);
    if (!found) return missing(resource, name);
    if (verb === "delete") return remove(request, found);
    const sent = JSON.parse(body || "{}") as FakeObject;
    if (method === "PUT") return json(fake.put(resource, { ...sent, metadata: { ...sent.metadata, namespace, name } }));
    if (method === "PATCH") return json(fake.put(resource, merge(found as unknown as JsonObject, sent) as FakeObject));
    return json(found);
  }

  function readNamespace(name: string): Answer {
    const uid = name === "kube-system" ? "uid-of-cluster" : `uid-of-${name}`;
    return fake.namespaces.has(name)
      ? json({ metadata: { name, uid, resourceVersion: "1" } })
      : missing("namespaces", name);
  }

  function create({ resource, namespace, body }: KubernetesRequest): Answer {
    const sent = JSON.parse(body) as FakeObject;
    const name = sent.metadata.name ?? `${String(sent.metadata.generateName)}${randomUUID().slice(0, 5)}`;
    if (!ofPlural(resource).has(`${namespace}/${name}`)) {
      return json(fake.put(resource, { ...sent, metadata: { ...sent.metadata, namespace, name } }));
    }
    const details = { name, kind: resource };
    return status(409, { message: `${resource} "${name}" already exists`, reason: "AlreadyExists", details });
  }

  function remove(
    { resource, namespace, name, body }: KubernetesRequest,
    { metadata: { uid } }: KubernetesObject,
  ): Answer {
    const wanted = (JSON.parse(body || "{}") as { preconditions?: { uid?: string } }).preconditions?.uid;
    if (wanted === undefined || wanted === uid) {
      fake.remove(resource, namespace, name);
      return json({ kind: "Status", status: "Success" });
    }
    const message = `Operation cannot be fulfilled on ${resource} "${name}": the UID in the precondition (${wanted}) does not match the UID in record (${uid}).`;
    return status(409, { message, reason: "Conflict", details: { name, kind: resource } });
  }

  function list({ resource, namespace, query }: KubernetesRequest): Answer {
    const token = query.get("continue");
    const first = { items: select(resource, namespace, query), version: String(version) };
    const page = token === null ? first : pages.get(token);
    if (!page) return status(410, { message: "The provided continue parameter is too old", reason: "Expired" });
    const limit = Number(query.get("limit") ?? Number.POSITIVE_INFINITY);
    const rest = page.items.slice(limit);
    const next = rest.length > 0 ? randomUUID() : "";
    if (next) pages.set(next, { items: rest, version: page.version });
    const metadata = { resourceVersion: page.version, ...(next && { continue: next }) };
    return json({ items: page.items.slice(0, limit), metadata });
  }

  function select(plural: string, namespace: string, query: URLSearchParams): KubernetesObject[] {
    const all = [...ofPlural(plural).values()].filter((object) => object.metadata.namespace === namespace);
    const uid = /^involvedObject\.uid=(.*)$/.exec(query.get("fieldSelector") ?? "")?.[1];
    return all.filter(
      (object) =>
        isSelected(object, query.get("labelSelector") ?? "") &&
        (uid === undefined || (object as { involvedObject?: { uid?: string } }).involvedObject?.uid === uid),
    );
  }

  function openWatch({ resource: plural, namespace, query }: KubernetesRequest): Answer {
    return (response) => {
      const from = Number(query.get("resourceVersion"));
      response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
      const watch = { plural, namespace, selector: query.get("labelSelector") ?? "", response };
      if (from < oldest) {
        const message = `too old resource version: ${from} (${oldest})`;
        send(watch, { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired", message } });
        response.end();
        return;
      }
      watches.add(watch);
      response.on("close", () => watches.delete(watch));
      if (fake.isSilent) return;
      for (const { version: at, type, object, plural: of } of changes) {
        if (at > from && isFor(watch, of, object)) send(watch, { type, object });
      }
    };
  }

  function log(name: string, query: URLSearchParams): Answer {
    const tail = Number(query.get("tailLines") ?? 0);
    const output = fake.logs.get(name) ?? "";
    const lines = output.split(/(?<=\n)/);
    return (response) => {
      response.writeHead(200, { "content-type": "text/plain" });
      response.end(tail > 0 ? lines.slice(-tail).join("") : output);
    };
  }

  function review({ spec }: JsonObject): unknown {
    const { resourceAttributes } = spec as { resourceAttributes: Record<string, string> };
    const { verb = "", resource = "", subresource, namespace = "" } = resourceAttributes;
    const whole = subresource ? `${resource}/${subresource}` : resource;
    return { status: { allowed: !fake.isDenied({ verb, resource: whole, namespace }) } };
  }

  await fake.start();
  return fake;
}

function send({ response }: Watch, event: unknown): void {
  response.write(`${JSON.stringify(event)}\n`);
}

function isFor({ plural, namespace, selector }: Watch, of: string, object: KubernetesObject): boolean {
  return plural === of && object.metadata.namespace === namespace && isSelected(object, selector);
}

function isSelected({ metadata: { labels = {} } }: KubernetesObject, selector: string): boolean {
  return selector.split(",").every((term) => {
    const [key = "", value] = term.split("=");
    if (key === "") return true;
    return value === undefined ? key in labels : labels[key] === value;
  });
}

function merge(into: JsonObject, patch: JsonObject): JsonObject {
  const merged: JsonObject = { ...into };
  for (const [key, value] of Object.entries(patch)) {
    const old = merged[key];
    if (value === null) delete merged[key];
    else if (isPlain(value) && isPlain(old)) merged[key] = merge(old, value);
    else merged[key] = value;
  }
  return merged;
}

function isPlain(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns a client of the server. `user` and `cluster` are fields of its kubeconfig. */
export async function openFakeCluster(
  { url }: Pick<FakeKubernetes, "url">,
  log: Logger,
  user: JsonObject = { token: "token" },
  cluster: JsonObject = {},
): Promise<Cluster> {
  const config = {
    clusters: [{ name: "fake", cluster: { server: url, ...cluster } }],
    users: [{ name: "u", user }],
    contexts: [{ name: "fake", context: { cluster: "fake", user: "u" } }],
  };
  const services = { environment: { PATH: process.env.PATH }, hide: () => undefined };
  return new Cluster(
    await findCluster({ config, context_name: "fake" }, services),
    new Outage(log),
    services.environment,
  );
}
