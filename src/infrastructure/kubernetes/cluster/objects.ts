// The calls on objects: create, read, list, change, delete, and permissions.
import { ResponseTooLargeError } from "../../../api/errors.ts";
import type { Json, JsonObject } from "../../../api/wire.ts";
import type { Call } from "./call.ts";
import type { Cluster } from "./cluster.ts";
import { isExpired, isMissing } from "./cluster-error.ts";
import {
  type EventObject,
  events,
  type KubernetesObject,
  listShape,
  namespaces,
  objectShape,
  pathOf,
  type Resource,
} from "./resources.ts";

/** What is said of every call: who ends it, its time limit, and how often it is repeated. */
export type CallOptions = Pick<Call, "signal" | "limitMs" | "retries">;

/** Which objects of a namespace. */
export interface Selection {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** The size of a page of a list. Larger ones cost the API server and this program much memory at once. */
const usualPageSize = 500;

/**
 * Creates an object. A repeated request finds the object of the first one, if the response to that was lost, and then
 * throws a ClusterError for which `isExisting` is true. So the manifest should have a `name`, and no `generateName`. With
 * `retries: 0`, nothing repeats the request but the caller.
 */
export async function createObject<O extends KubernetesObject>(
  cluster: Cluster,
  resource: Resource<O>,
  namespace: string,
  manifest: JsonObject,
  options: CallOptions,
): Promise<O> {
  return await cluster.request<O>("POST", pathOf(resource, namespace), {
    ...options,
    body: manifest,
    shape: objectShape,
    isOnce: true,
  });
}

/** Reads an object. Throws a ClusterError for which `isMissing` is true if there is none. */
export async function readObject<O extends KubernetesObject>(
  cluster: Cluster,
  resource: Resource<O>,
  namespace: string | null,
  name: string,
  options: CallOptions,
): Promise<O> {
  return await cluster.request<O>("GET", pathOf(resource, namespace, name), { ...options, shape: objectShape });
}

/** A list, and the version from which a watch continues it. */
export interface ObjectPage<O> {
  readonly items: readonly O[];
  readonly resourceVersion: string;
}

/**
 * Yields a list in pages of 500, or of fewer objects if those are too large. If it takes so long that the API server forgets where it was, the list begins again and
 * the page has `isRestart`: what came before is to be forgotten.
 */
export async function* listPages<O extends KubernetesObject>(
  cluster: Cluster,
  resource: Resource<O>,
  namespace: string,
  selection: Selection,
  options: CallOptions,
): AsyncGenerator<ObjectPage<O> & { readonly isRestart: boolean }> {
  let next: string | undefined;
  let isRestart = false;
  for (let limit = usualPageSize; ; ) {
    try {
      const query = { ...selection, limit, continue: next };
      const call = { ...options, query, shape: listShape };
      const { items, metadata } = await cluster.request<List<O>>("GET", pathOf(resource, namespace), call);
      next = metadata.continue || undefined;
      yield { items: items ?? [], resourceVersion: metadata.resourceVersion, isRestart };
      if (next === undefined) return;
      isRestart = false;
    } catch (error) {
      if (error instanceof ResponseTooLargeError && limit > 1) {
        limit = Math.ceil(limit / 2);
      } else if (isExpired(error) && next !== undefined) {
        next = undefined;
        isRestart = true;
      } else throw error;
    }
  }
}

interface List<O> {
  readonly items?: readonly O[] | null;
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
}

/** Returns the objects of a namespace that a selection names. */
export async function listObjects<O extends KubernetesObject>(
  cluster: Cluster,
  resource: Resource<O>,
  namespace: string,
  selection: Selection,
  options: CallOptions,
): Promise<O[]> {
  let found: O[] = [];
  for await (const { items, isRestart } of listPages(cluster, resource, namespace, selection, options)) {
    found = isRestart ? [...items] : found.concat(items);
  }
  return found;
}

/** Replaces an object. Without a `resourceVersion` in the manifest, it does not matter who changed it meanwhile. */
export async function replaceObject<O extends KubernetesObject>(
  cluster: Cluster,
  resource: Resource<O>,
  namespace: string,
  name: string,
  manifest: JsonObject,
  options: CallOptions,
): Promise<O> {
  return await cluster.request<O>("PUT", pathOf(resource, namespace, name), {
    ...options,
    body: manifest,
    shape: objectShape,
  });
}

/** Changes the given fields of an object. A null removes a field, and a list replaces the whole list. */
export async function patchObject<O extends KubernetesObject>(
  cluster: Cluster,
  resource: Resource<O>,
  namespace: string,
  name: string,
  patch: JsonObject,
  options: CallOptions,
): Promise<O> {
  const contentType = "application/merge-patch+json";
  return await cluster.request<O>("PATCH", pathOf(resource, namespace, name), {
    ...options,
    contentType,
    body: patch,
    shape: objectShape,
  });
}

/** How an object is deleted. */
export interface DeleteOptions extends CallOptions {
  /** How long its programs have to end by themselves. Pods have a grace period of their own as default. */
  readonly gracePeriodSeconds?: number;
  /** `Foreground`: the object stays until all that it owns is gone. `Background`: the rest is deleted later. */
  readonly propagationPolicy?: "Foreground" | "Background" | "Orphan";
  /** Deletes this object only, and none of the same name that was created later. Then `isConflict` is true. */
  readonly uid?: string;
}

/** Deletes an object. Returns false if there is none. */
export async function deleteObject(
  cluster: Cluster,
  resource: Resource,
  namespace: string,
  name: string,
  { gracePeriodSeconds, propagationPolicy, uid, ...options }: DeleteOptions,
): Promise<boolean> {
  const body: JsonObject = {
    apiVersion: "v1",
    kind: "DeleteOptions",
    ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }),
    ...(propagationPolicy !== undefined && { propagationPolicy }),
    ...(uid !== undefined && { preconditions: { uid } }),
  };
  try {
    await cluster.request("DELETE", pathOf(resource, namespace, name), { ...options, body });
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/**
 * Returns the events about one object, the oldest first, or about all objects that have had a name. The API server forgets events
 * after an hour.
 */
export async function listEvents(
  cluster: Cluster,
  namespace: string,
  about: { readonly uid: string } | { readonly kind: string; readonly name: string },
  options: CallOptions,
): Promise<EventObject[]> {
  const fieldSelector = Object.entries(about)
    .map(([field, value]) => `involvedObject.${field}=${value}`)
    .join();
  const found = await listObjects(cluster, events, namespace, { fieldSelector }, options);
  const timeOf = ({ lastTimestamp, eventTime, metadata }: EventObject): string =>
    lastTimestamp ?? eventTime ?? metadata.creationTimestamp ?? "";
  return found.sort((one, other) => (timeOf(one) < timeOf(other) ? -1 : 1));
}

/** What the user may or may not do. */
export interface Permission {
  readonly namespace: string;
  readonly verb: string;
  readonly resource: Resource;
  /** Such as `log`. */
  readonly subresource?: string;
}

/** Asks the API server whether the user of this cluster has a permission. */
export async function isAllowed(
  cluster: Cluster,
  { namespace, verb, resource, subresource }: Permission,
  options: CallOptions,
): Promise<boolean> {
  const attributes: Record<string, Json> = { namespace, verb, group: resource.group, resource: resource.plural };
  if (subresource !== undefined) attributes.subresource = subresource;
  const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  const { status } = await cluster.request<{ status?: { allowed?: boolean } }>("POST", path, {
    ...options,
    body: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: attributes },
    },
  });
  return status?.allowed === true;
}

/** Returns the version of the API server, such as `v1.34.4`. Needs no permission on most clusters. */
export async function readVersion(cluster: Cluster, options: CallOptions): Promise<string> {
  const { gitVersion } = await cluster.request<{ gitVersion?: string }>("GET", "/version", options);
  return gitVersion ?? "of an unknown version";
}

/** Returns what identifies a cluster: the uid of its namespace `kube-system`. Throws a ClusterError if it may not be read. */
export async function readClusterUid(cluster: Cluster, options: CallOptions): Promise<string> {
  return (await readObject(cluster, namespaces, null, "kube-system", options)).metadata.uid;
}
