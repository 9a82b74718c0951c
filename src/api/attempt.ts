// What one attempt at a request came to: a response with its parsed body, or an error, and what either means for a retry.
import { wallClockMs } from "../async/clock.ts";
import { type ExactPlaces, keepNumberTexts } from "../exact-json.ts";
import { NoTokenError } from "./csrf.ts";
import { ResponseTooLargeError, UndecodableResponseError, UnexpectedAnswerError, UnreachableError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";
import type { Check } from "./json-check.ts";
import { type Attempt, parseRetryAfterMs } from "./retry.ts";
import type { Json } from "./wire.ts";

/** A response and its body as a value: parsed JSON, null for an empty body or one that is not to be parsed. */
export interface Received {
  response: HttpResponse;
  value: Json;
}

/** One attempt. */
export type Tried = { attempt: Attempt } & (Received | { error: Error });

/** What a request expects of a successful response. */
export interface Expected {
  method: string;
  path: string;
  /** The body is plain text. */
  text?: boolean | undefined;
  shape?: Check | undefined;
  /** Where numbers keep their text. */
  exact?: ExactPlaces | undefined;
}

/** Returns the attempt that ended with a response. Throws UndecodableResponseError and UnexpectedAnswerError. */
export function receive(response: HttpResponse, expected: Expected): Tried {
  return { response, value: decode(response, expected), attempt: describe(response) };
}

/** Returns the attempt that ended with an error. Rethrows what is no outcome of a request, such as an abort. */
export function fail(error: unknown): Tried {
  // Without a token the write would be refused for that, whatever the reason is.
  if (error instanceof NoTokenError) {
    return { response: error.response, value: null, attempt: describe(error.response) };
  }
  if (error instanceof UndecodableResponseError) return { error, attempt: { kind: "undecodable" } };
  if (error instanceof UnexpectedAnswerError) return { error, attempt: { kind: "unexpected" } };
  if (error instanceof ResponseTooLargeError) return { error, attempt: { kind: "too large" } };
  if (error instanceof UnreachableError) return { error, attempt: { kind: "unreachable", code: error.code } };
  throw error;
}

function decode({ status, body, headers }: HttpResponse, { method, path, text, shape, exact }: Expected): Json {
  if (text || status < 200 || status > 299 || (body === "" && !shape)) return null;
  let value: Json;
  try {
    value = JSON.parse(body) as Json;
  } catch {
    throw new UndecodableResponseError(method, path, status, headers["content-type"] ?? "");
  }
  if (shape && !shape(value)) throw new UnexpectedAnswerError(method, path, status);
  if (exact) keepNumberTexts(body, value, exact);
  return value;
}

function describe(response: HttpResponse): Attempt {
  return {
    kind: "answer",
    status: response.status,
    retryAfterMs: parseRetryAfterMs(response.headers["retry-after"], wallClockMs()),
    maintenance: String(response.headers["prefect-maintenance"]).toLowerCase() === "true",
    foreign: response.status === 404 && !/json/i.test(response.headers["content-type"] ?? ""),
    staleCsrf: response.status === 403 && response.body.includes("Invalid CSRF token"),
  };
}
