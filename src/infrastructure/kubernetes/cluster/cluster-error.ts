// What can go wrong between lictor and the API server of a Kubernetes cluster. Each message is one line that says what to do.
import { type ClusterCall, explainStatus, type StatusBody } from "./explain-status.ts";

/** A response of the API server that is no success, or an error that a watch has sent. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
  constructor(
    readonly status: number,
    readonly body: StatusBody,
    readonly call: ClusterCall,
    /** How long the server asks to wait before a retry; undefined if it does not ask. */
    readonly retryAfterMs?: number,
  ) {
    super(explainStatus(status, body, call));
  }

  /** The machine-readable reason, such as `AlreadyExists`. Empty if the server has sent none. */
  get reason(): string {
    return this.body.reason ?? "";
  }
}

/** There was no response. The API server may be restarted, so this says nothing about Jobs and pods. */
export class ClusterUnreachableError extends Error {
  override readonly name = "ClusterUnreachableError";
  constructor(
    /** The URL of the API server. */
    readonly server: string,
    /** The system's code, such as `ECONNREFUSED`. */
    readonly code: string,
    /** What happened, and what to do. */
    explanation: string,
    options?: ErrorOptions,
  ) {
    super(`Cannot reach the Kubernetes API at ${server}: ${explanation}`, options);
  }
}

/** The cluster or its credentials cannot be found. The message says what to do. */
export class ClusterConfigError extends Error {
  override readonly name = "ClusterConfigError";
}

/** Returns whether there is no such object. An unknown namespace and an unknown resource have this status too. */
export function isMissing(error: unknown): error is ClusterError {
  return error instanceof ClusterError && error.status === 404;
}

/** Returns whether an object of this name exists already. */
export function isExisting(error: unknown): error is ClusterError {
  return error instanceof ClusterError && error.reason === "AlreadyExists";
}

/**
 * Returns whether an object was not the one that the request meant: its uid or its version is another one. The status of
 * `AlreadyExists` is the same.
 */
export function isConflict(error: unknown): error is ClusterError {
  return error instanceof ClusterError && error.status === 409 && error.reason !== "AlreadyExists";
}

/** Returns whether the version that a list or a watch was to continue from is too old. */
export function isExpired(error: unknown): error is ClusterError {
  return (
    error instanceof ClusterError && (error.status === 410 || error.reason === "Expired" || error.reason === "Gone")
  );
}

/** Returns whether the API server does not accept the credentials. */
export function isUnauthorized(error: unknown): error is ClusterError {
  return error instanceof ClusterError && error.status === 401;
}

/**
 * Returns whether the cluster cannot be used now, whatever the request is. Credentials that have expired are renewed by somebody
 * else, for example by the kubelet, so they are an outage too.
 */
export function isOutage(error: unknown): boolean {
  return isTransient(error) || isUnauthorized(error);
}

/** Returns whether the failure may end by itself, so that a retry makes sense. */
export function isTransient(error: unknown): boolean {
  if (error instanceof ClusterUnreachableError) return true;
  if (!(error instanceof ClusterError)) return false;
  const { status, reason, body } = error;
  if (status === 408 || status === 429 || status >= 500) return true;
  // Somebody else has changed the quota meanwhile. The request itself is fine.
  return status === 409 && reason === "Conflict" && body.details?.kind === "resourcequotas";
}
