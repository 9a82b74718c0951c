// One request to a Kubernetes API server.
import type { Check } from "../../../api/json-check.ts";
import type { Json, JsonObject } from "../../../api/wire.ts";

/** Query parameters. Undefined ones are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** One request. */
export interface Call {
  readonly query?: Query;
  readonly body?: JsonObject | Json[];
  /** The type of the body. The default is `application/json`. */
  readonly contentType?: string;
  /** Ends the request, waits and retries. Its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** The time limit of one attempt in ms. The default is 30 s. */
  readonly limitMs?: number;
  /** The shape of a successful response. */
  readonly shape?: Check;
  /** The API server asks a node for the answer, so a failure says nothing about the API server. */
  readonly asksNode?: boolean;
  /** How often a transient failure is retried. The default is 3. Infinity: until `signal` aborts. */
  readonly retries?: number;
  /** Sends each attempt once, even if a kept connection turns out to be closed. */
  readonly isOnce?: boolean;
}
