// The result of one attempt at a request: a response with its parsed body, or an error. `outcome` says what it means
// for a retry.
import { wallClockMs } from "../async/clock.ts";
import { type ExactPlaces, keepNumberTexts } from "../exact-json.ts";
import { NoTokenError } from "./csrf.ts";
import {
  ResponseTooLargeError,
  UndecodableResponseError,
  UnexpectedResponseError,
  UnreachableError,
} from "./errors.ts";
import { type HttpResponse, isJson } from "./http-message.ts";
import type { Check } from "./json-check.ts";
import { type AttemptOutcome, parseRetryAfterMs } from "./retry.ts";
import type { Json } from "./wire.ts";

/** A response and its parsed body. `value` is null if the body is empty or must not be parsed. */
export interface ParsedResponse {
  response: HttpResponse;
  value: Json;
}

/** The result of one attempt. */
export type AttemptResult = { outcome: AttemptOutcome } & (ParsedResponse | { error: Error });

/** What a successful response must look like. */
export interface ExpectedResponse {
  method: string;
  path: string;
  /** The body is plain text. */
  text?: boolean | undefined;
  shape?: Check | undefined;
  /** The places in the body where numbers keep their text. */
  exact?: ExactPlaces | undefined;
}

/**
 * Returns the result of an attempt that got a response. Throws UndecodableResponseError and UnexpectedResponseError.
 */
export function attemptWithResponse(response: HttpResponse, expected: ExpectedResponse): AttemptResult {
  return { response, value: decode(response, expected), outcome: outcomeOf(response) };
}

/**
 * Returns the result of an attempt that threw. Rethrows an error that no response or network failure caused, such as an
 * abort.
 */
export function attemptWithError(error: unknown): AttemptResult {
  // The server would refuse a write without a token, so the refused token is the response to the write.
  if (error instanceof NoTokenError) {
    return { response: error.response, value: null, outcome: outcomeOf(error.response) };
  }
  if (error instanceof UndecodableResponseError) return { error, outcome: { kind: "undecodable" } };
  if (error instanceof UnexpectedResponseError) return { error, outcome: { kind: "unexpected" } };
  if (error instanceof ResponseTooLargeError) return { error, outcome: { kind: "too large" } };
  if (error instanceof UnreachableError) return { error, outcome: { kind: "unreachable", code: error.code } };
  throw error;
}

function decode({ status, body, headers }: HttpResponse, { method, path, text, shape, exact }: ExpectedResponse): Json {
  if (text || status < 200 || status > 299 || (body === "" && !shape)) return null;
  let value: Json;
  try {
    value = JSON.parse(body) as Json;
  } catch {
    throw new UndecodableResponseError(method, path, status, headers["content-type"] ?? "");
  }
  if (shape && !shape(value)) throw new UnexpectedResponseError(method, path, status);
  if (exact) keepNumberTexts(body, value, exact);
  return value;
}

function outcomeOf(response: HttpResponse): AttemptOutcome {
  return {
    kind: "response",
    status: response.status,
    retryAfterMs: parseRetryAfterMs(response.headers["retry-after"], wallClockMs()),
    maintenance: String(response.headers["prefect-maintenance"]).toLowerCase() === "true",
    foreign: response.status === 404 && !isJson(response),
    staleCsrf: response.status === 403 && response.body.includes("Invalid CSRF token"),
  };
}
