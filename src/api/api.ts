// The Prefect API as those see it who send requests to it.
import type { ApiError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";
import type { RequestAttribution, RequestOptions } from "./request-options.ts";
import type { Json } from "./wire.ts";

/** Where the API is. */
export interface ApiAddress {
  /** Without a trailing slash. */
  apiUrl: string;
  isCloud: boolean;
}

/** Sends requests in the name of one worker, or of nobody. */
export interface Api {
  readonly address: ApiAddress;
  readonly attribution: RequestAttribution;
  /**
   * Returns the parsed response of a 2xx, null for an empty one. Throws ApiError, UnreachableError,
   * UndecodableResponseError and UnexpectedAnswerError.
   */
  request(method: string, path: string, request?: RequestOptions): Promise<Json>;
  /** Returns the response as it came, whatever its status. Throws UnreachableError. */
  requestRaw(method: string, path: string, request?: RequestOptions): Promise<HttpResponse>;
  /** Returns the error for a response outside 2xx. */
  refusal(method: string, path: string, response: HttpResponse): ApiError;
}
