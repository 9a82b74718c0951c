// The Kubernetes objects that lictor uses, with the fields that it reads. All fields are the API server's own, in camelCase.
// Source: Kubernetes API reference, batch/v1 and core/v1.
import { type Check, listOf, object, oneOf, optional, text } from "../../../api/json-check.ts";
import type { JsonObject } from "../../../api/wire.ts";

/** What every object has. The API server sends these fields always. */
export interface KubernetesObject {
  readonly metadata: ObjectMeta;
}

/** The metadata of an object. Times are RFC 3339. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  /** Stays the same as long as the object exists. Another object of the same name has another one. */
  readonly uid: string;
  /** Changes with the object. It can be compared for equality only. */
  readonly resourceVersion: string;
  readonly creationTimestamp?: string;
  /** Set while the object is being deleted. */
  readonly deletionTimestamp?: string;
  /** How long it may take from the request until `deletionTimestamp`. */
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid: string }[];
}

/** A condition of a Job or a pod. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

/** A Job of batch/v1. */
export interface JobObject extends KubernetesObject {
  readonly spec?: {
    readonly backoffLimit?: number;
    readonly suspend?: boolean;
    readonly template?: { readonly spec?: JsonObject };
  };
  readonly status?: {
    readonly active?: number;
    readonly ready?: number;
    readonly succeeded?: number;
    readonly failed?: number;
    /** Pods that were told to end and have not ended. Some of them count as failed already. */
    readonly terminating?: number;
    readonly startTime?: string;
    readonly completionTime?: string;
    readonly conditions?: readonly Condition[];
  };
}

/** A pod. */
export interface PodObject extends KubernetesObject {
  readonly spec?: { readonly nodeName?: string; readonly containers?: readonly { readonly name: string }[] };
  readonly status?: {
    readonly phase?: "Pending" | "Running" | "Succeeded" | "Failed" | "Unknown";
    readonly reason?: string;
    readonly message?: string;
    readonly startTime?: string;
    readonly conditions?: readonly Condition[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** The state of one container of a pod. */
export interface ContainerStatus {
  readonly name: string;
  readonly image?: string;
  /** Missing before the container was made. */
  readonly containerID?: string;
  readonly restartCount?: number;
  readonly state?: ContainerState;
  /** How the previous instance of the container ended. */
  readonly lastState?: ContainerState;
}

/** At most one of the fields is set. */
export interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly running?: { readonly startedAt?: string };
  readonly terminated?: {
    readonly exitCode: number;
    readonly signal?: number;
    readonly reason?: string;
    readonly message?: string;
    readonly startedAt?: string;
    readonly finishedAt?: string;
  };
}

/** A secret. `data` is in base64. */
export interface SecretObject extends KubernetesObject {
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

/** An event about another object, such as `FailedCreate` about a Job. */
export interface EventObject extends KubernetesObject {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly involvedObject?: { readonly kind?: string; readonly name?: string; readonly uid?: string };
}

/** A namespace. */
export type NamespaceObject = KubernetesObject;

/** A type of object, and its place in the API. `O` is the type of its objects. */
export interface Resource<O extends KubernetesObject = KubernetesObject> {
  /** The API group. Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  /** Only for the type checker. */
  readonly object?: O;
}

/** Jobs of `batch/v1`. Other API groups also have a resource of this name. */
export const jobs: Resource<JobObject> = { group: "batch", version: "v1", plural: "jobs" };
/** Pods. */
export const pods: Resource<PodObject> = { group: "", version: "v1", plural: "pods" };
/** Secrets. */
export const secrets: Resource<SecretObject> = { group: "", version: "v1", plural: "secrets" };
/** Events of the core group. */
export const events: Resource<EventObject> = { group: "", version: "v1", plural: "events" };
/** Namespaces, which are in no namespace. */
export const namespaces: Resource<NamespaceObject> = { group: "", version: "v1", plural: "namespaces" };

/** What identifies an object. Its other fields are checked by the API server. */
export const objectShape = object({ metadata: object({ name: text, uid: text, resourceVersion: text }) });
/** A page of a list. */
export const listShape = object({ items: optional(listOf(objectShape)), metadata: object({ resourceVersion: text }) });
/** A line of a watch. An error has no metadata, and a bookmark a version only. */
export const eventShape: Check = (value) => errorShape(value) || bookmarkShape(value) || changeShape(value);
const errorShape = object({ type: oneOf("ERROR"), object: object({}) });
const bookmarkShape = object({
  type: oneOf("BOOKMARK"),
  object: object({ metadata: object({ resourceVersion: text }) }),
});
const changeShape = object({ type: text, object: objectShape });

/** Returns the path of all objects of a namespace, or of one. A null namespace is for objects in none. */
export function pathOf({ group, version, plural }: Resource, namespace: string | null, name?: string): string {
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const within = namespace === null ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${within}/${plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}
