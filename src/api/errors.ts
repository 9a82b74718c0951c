// The errors of API requests. There is one class for each case that callers handle differently.
import { causeOfTlsFailure, explainFailure } from "./tls-causes.ts";

/**
 * A status outside 2xx. `detail` is the server's explanation. `advice` is the likely cause and what to do. One line
 * each.
 */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    readonly method: string,
    readonly path: string,
    readonly status: number,
    readonly detail: string,
    readonly advice?: string,
    /** True if the body is an error of the Prefect API, so that no proxy has sent it. */
    readonly isFromApi = false,
  ) {
    super(`${method} ${path}: ${status}${detail ? ` ${detail}` : ""}.${advice ? ` ${advice}` : ""}`);
  }
}

/**
 * The server did not respond: refused, reset, timeout, unknown host, TLS failure, or a response of a proxy instead.
 * `code` is Node's error code, or `PROXY_<status>` for a response of a proxy.
 */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
  constructor(
    readonly url: string,
    readonly code: string,
    cause: unknown,
  ) {
    super(`${url}: ${cause instanceof Error ? explainFailure(cause) : code}`, { cause });
  }
}

/** A status 2xx with a body that is not JSON. A proxy or a web server responded, not the Prefect API. */
export class UndecodableResponseError extends Error {
  override readonly name = "UndecodableResponseError";
  constructor(
    readonly method: string,
    readonly path: string,
    readonly status: number,
    readonly contentType: string,
  ) {
    super(
      `${method} ${path}: ${status} with ${contentType || "a body"} that is not JSON, so something other than the Prefect API answered. Check PREFECT_API_URL (a self-hosted one ends in /api) and any proxy.`,
    );
  }
}

/** A status 2xx with JSON of an unexpected shape. Something else responded, or a server of another release. */
export class UnexpectedResponseError extends Error {
  override readonly name = "UnexpectedResponseError";
  constructor(
    readonly method: string,
    readonly path: string,
    readonly status: number,
  ) {
    super(
      `${method} ${path}: ${status} with JSON that is not what the Prefect API answers here. Check PREFECT_API_URL and any proxy; \`lictor doctor\` says what answers there.`,
    );
  }
}

/** A response of more bytes than lictor reads. A retry of the same request would get the same response. */
export class ResponseTooLargeError extends Error {
  override readonly name = "ResponseTooLargeError";
  constructor(
    readonly method: string,
    readonly path: string,
    readonly maxBytes: number,
  ) {
    super(`${method} ${path}: the answer is larger than ${maxBytes} bytes`);
  }
}

/** Statuses by which a server says that it has no time for the request. */
const busyStatuses: ReadonlySet<number> = new Set([408, 429]);

/**
 * Returns true for failures that may end by themselves: no response, a response of something else, status 5xx, or a server
 * that is too busy.
 */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof UnreachableError ||
    error instanceof UndecodableResponseError ||
    error instanceof UnexpectedResponseError ||
    error instanceof ResponseTooLargeError ||
    (error instanceof ApiError && (error.status >= 500 || busyStatuses.has(error.status)))
  );
}

/**
 * Returns true if there was no response because the settings or the server are misconfigured, so that a retry is
 * useless.
 */
export function isMisconfigured(error: unknown): boolean {
  if (!(error instanceof UnreachableError)) return false;
  return error.code === "PROXY_407" || causeOfTlsFailure(error.code) !== undefined;
}

/** Returns true for an `ApiError` with this status. */
export function hasStatus(error: unknown, status: number): boolean {
  return error instanceof ApiError && error.status === status;
}
