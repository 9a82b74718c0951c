// What can go wrong with an API call, one class per cause that a caller decides on.
import { causeOfTlsFailure, explainFailure } from "./tls-causes.ts";

/** A status outside 2xx. `detail` is the server's own words, `advice` the likely cause and what to do; one line each. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    readonly method: string,
    readonly path: string,
    readonly status: number,
    readonly detail: string,
    readonly advice?: string,
  ) {
    super(`${method} ${path}: ${status}${detail ? ` ${detail}` : ""}.${advice ? ` ${advice}` : ""}`);
  }
}

/**
 * No answer of the server: refused, reset, timed out, name not found, a TLS failure, or a proxy answered instead.
 * `code` is Node's error code, `PROXY_<status>` for a proxy.
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

/** A success status with a body that is not JSON: a proxy or a web page answered, not the Prefect API. */
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

/** A success status with JSON of another shape than the API's: something else answered, or a server of another age. */
export class UnexpectedAnswerError extends Error {
  override readonly name = "UnexpectedAnswerError";
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

/** A response of more bytes than lictor reads. Asking for the same again would bring the same. */
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

/** True for failures that may pass by themselves: no answer, an answer that is not the API's, or status 5xx. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof UnreachableError ||
    error instanceof UndecodableResponseError ||
    error instanceof UnexpectedAnswerError ||
    error instanceof ResponseTooLargeError ||
    (error instanceof ApiError && error.status >= 500)
  );
}

/** True when there was no answer for a reason that only a change of the settings or of the server's removes. */
export function isMisconfigured(error: unknown): boolean {
  if (!(error instanceof UnreachableError)) return false;
  return error.code === "PROXY_407" || causeOfTlsFailure(error.code) !== undefined;
}

/** True for an `ApiError` with the given status. */
export function hasStatus(error: unknown, status: number): boolean {
  return error instanceof ApiError && error.status === status;
}
