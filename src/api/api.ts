// The interface through which the other folders send requests to the Prefect API.
import type { ApiError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";
import type { RequestAttribution, RequestOptions } from "./request-options.ts";
import type { Json } from "./wire.ts";

/** The address of the API. */
export interface ApiAddress {
  /** Without a trailing slash. */
  apiUrl: string;
  isCloud: boolean;
}

/** Sends requests on behalf of one worker, or without a worker. */
export interface Api {
  readonly address: ApiAddress;
  readonly attribution: RequestAttribution;
  /**
   * Returns the parsed body of a 2xx response, or null for an empty body. Throws ApiError for any other status. Throws
   * UnreachableError, UndecodableResponseError, UnexpectedResponseError, ResponseTooLargeError and the abort reason.
   */
  request(method: string, path: string, request?: RequestOptions): Promise<Json>;
  /** Returns the response with its body as text, whatever its status. Throws UnreachableError and the abort reason. */
  requestRaw(method: string, path: string, request?: RequestOptions): Promise<HttpResponse>;
  /** Returns the error for a response outside 2xx. */
  toApiError(method: string, path: string, response: HttpResponse): ApiError;
}
