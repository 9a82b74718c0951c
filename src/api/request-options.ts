// What a single request may ask for.
import type { ExactPlaces } from "../exact-json.ts";
import type { Lane } from "./agents.ts";
import type { Hedge } from "./hedge.ts";
import type { Check } from "./json-check.ts";
import type { Json } from "./wire.ts";

/** Who asks: sent with every request as soon as it is known. Source: prefect client/attribution.py. */
export interface RequestAttribution {
  workerName: string | null;
  workerId: string | null;
}

/** What a single request may ask for. */
export interface RequestOptions {
  /** In whose name it is sent, instead of the client's own. */
  attribution?: RequestAttribution | undefined;
  body?: Json | undefined;
  /** Ends waiting and retrying; the abort reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Repeat for as long as the failure is one that may pass (any 5xx included), instead of `maxRetries` times. */
  endless?: boolean;
  /**
   * Repeat a refusal (401, 403, an answer that is not the API's) for ever too, slowly, once the server has taken the
   * credentials: they expire and come back. For what must not be lost, such as the end of a flow run.
   */
  outlastsRefusals?: boolean;
  /** Asked before each repetition: what it gives is the response, and nothing is repeated. */
  beforeRepeat?: (() => Promise<Json | undefined>) | undefined;
  /** Which requests it shares connections with, and may have to wait for; `request`, if not given. */
  lane?: Lane | undefined;
  /** Sends an attempt that gets no answer a second time, in lanes of its own. Only for reads. */
  hedge?: Hedge | undefined;
  /** A larger response is not read: ResponseTooLargeError. */
  maxBodyBytes?: number | undefined;
  /** The response is plain text, not JSON. */
  text?: boolean;
  /** Where the numbers of a successful response keep their text. */
  exact?: ExactPlaces | undefined;
  /** The body may hold numbers that keep their text, as what was read with `exact`. */
  isBodyExact?: boolean;
  /** What a successful response has to look like. Another one is asked for `maxRetries` times again, even if `endless`. */
  shape?: Check | undefined;
}
