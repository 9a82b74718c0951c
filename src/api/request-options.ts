// The options of a single request.
import type { ExactPlaces } from "../exact-json.ts";
import type { Lane } from "./agents.ts";
import type { Hedge } from "./hedge.ts";
import type { Check } from "./json-check.ts";
import type { RetriedRefusals } from "./refused-reports.ts";
import type { Json } from "./wire.ts";

/** The worker that sends the request, as headers. Null until known. Source: prefect client/attribution.py. */
export interface RequestAttribution {
  workerName: string | null;
  workerId: string | null;
}

/** The options of a single request. */
export interface RequestOptions {
  /** The worker that sends the request, instead of the client's default. */
  attribution?: RequestAttribution | undefined;
  body?: Json | undefined;
  /** An abort ends the request, waits and retries. The abort reason is thrown. */
  signal?: AbortSignal | undefined;
  /**
   * Retry without limit, instead of `maxRetries` times, while the failure is transient. Any 5xx counts as transient.
   */
  endless?: boolean;
  /**
   * Also retry a refusal without limit, at longer intervals: 401, 403, or a response that is not from the API. This
   * applies once the server has accepted the credentials, because they may expire and be renewed. For reports that must
   * not be lost, and for what must be known of a claimed flow run.
   */
  retriesRefusals?: RetriedRefusals;
  /** Called before each retry. If it returns a value, that is the response, and there is no retry. */
  beforeRepeat?: (() => Promise<Json | undefined>) | undefined;
  /** The group of requests with which this request shares connections. The default is `request`. */
  lane?: Lane | undefined;
  /** Sends a slow attempt a second time, on another connection. Only for reads. */
  hedge?: Hedge | undefined;
  /** A larger response causes ResponseTooLargeError. */
  maxBodyBytes?: number | undefined;
  /** The response is plain text, not JSON. */
  text?: boolean;
  /** The places in a successful response where numbers keep their text. */
  exact?: ExactPlaces | undefined;
  /** True if the body may hold NumberText values, for example from a response read with `exact`. */
  isBodyExact?: boolean;
  /** The shape of a successful response. Another shape is retried at most `maxRetries` times, even if `endless`. */
  shape?: Check | undefined;
}
