// How requests reach an API server: over HTTP, unless the cluster is one of the simulation.
import type { IncomingHttpHeaders } from "node:http";
import type { HttpRequest, HttpResponse } from "../../../api/http-message.ts";
import { sendHttpRequest } from "../../../api/http-request.ts";
import { openHttpStream, type StreamRequest } from "../../../api/http-stream.ts";

/** The head of a response, and its body as it arrives. */
export interface StreamResponse extends AsyncIterable<Buffer> {
  readonly statusCode?: number | undefined;
  readonly headers: IncomingHttpHeaders;
}

/** Sends requests. Both calls throw UnreachableError and the abort reason of the request's signal. */
export interface Transport {
  /** Sends a request and returns the complete response. */
  send(request: HttpRequest): Promise<HttpResponse>;
  /** Sends a request and returns the response as soon as its head has arrived. */
  open(request: StreamRequest): Promise<StreamResponse>;
  /** Random numbers from 0 up to 1, for the pauses between retries. */
  readonly random: () => number;
}

/** Sends over HTTP. */
export const overHttp: Transport = { send: sendHttpRequest, open: openHttpStream, random: Math.random };
