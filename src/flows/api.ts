// Sends what a flow reports to the Prefect API. The worker passes the address and the credentials on as variables.
import { sleep } from "../async/sleep.ts";

/** The pauses before repetitions, in milliseconds. A server that restarts is back after that. */
const pausesMs = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000];
const timeoutMs = 30_000;
const never = new AbortController().signal;

type Variables = Readonly<Record<string, string | undefined>>;

/** The API of one server. */
export class Api {
  readonly #headers: Record<string, string>;
  readonly #url: string;
  readonly #client = crypto.randomUUID();
  #csrf: Promise<string | null> | undefined;
  /** After a failure of all repetitions, other requests are not repeated until one succeeds. */
  #isAway = false;

  private constructor(url: string, headers: Record<string, string>) {
    this.#url = url;
    this.#headers = headers;
  }

  /** Returns the API that the variables name, or null. */
  static of(variables: Variables): Api | null {
    const url = variables.PREFECT_API_URL?.replace(/\/+$/, "");
    if (!url) return null;
    const { PREFECT_API_KEY: key, PREFECT_API_AUTH_STRING: login } = variables;
    const authorization = key ? `Bearer ${key}` : login ? `Basic ${Buffer.from(login).toString("base64")}` : undefined;
    return new Api(url, {
      "content-type": "application/json",
      ...(authorization && { authorization }),
      ...customHeaders(variables.PREFECT_CLIENT_CUSTOM_HEADERS),
    });
  }

  /** Sends a request, and repeats it while the failure may be transient. Throws an Error with the reason. */
  async post(path: string, body: unknown): Promise<void> {
    for (let failures = 0; ; failures++) {
      const problem = await this.#tryPost(path, body);
      const pauseMs = this.#isAway ? undefined : pausesMs[failures];
      if (problem === null) {
        this.#isAway = false;
        return;
      }
      if (problem.isTransient && pauseMs === undefined) this.#isAway = true;
      if (!problem.isTransient || pauseMs === undefined) throw new Error(`POST ${path}: ${problem.reason}`);
      await sleep(pauseMs, never);
    }
  }

  /** Returns null for a success. */
  async #tryPost(path: string, body: unknown): Promise<{ reason: string; isTransient: boolean } | null> {
    try {
      const response = await fetch(`${this.#url}${path}`, {
        method: "POST",
        headers: { ...this.#headers, ...(await this.#csrfHeaders()) },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(timeoutMs),
      });
      const text = await response.text();
      if (response.ok) return null;
      // The server asks for a token; it has none in the first request.
      const needsToken = response.status === 403 && /csrf/i.test(text);
      if (needsToken) this.#csrf = this.#readToken();
      const isTransient = needsToken || response.status >= 500 || response.status === 429 || response.status === 408;
      return { reason: `${response.status} ${text.slice(0, 200)}`, isTransient };
    } catch (error) {
      const { message, cause } = error as Error & { cause?: { code?: string } };
      return { reason: cause?.code ?? message, isTransient: true };
    }
  }

  async #csrfHeaders(): Promise<Record<string, string>> {
    const token = await this.#csrf;
    return token ? { "Prefect-Csrf-Token": token, "Prefect-Csrf-Client": this.#client } : {};
  }

  /** Returns null if the server has none now. Source: prefect client/base.py. */
  async #readToken(): Promise<string | null> {
    try {
      const response = await fetch(`${this.#url}/csrf-token?client=${this.#client}`, {
        headers: this.#headers,
        signal: AbortSignal.timeout(timeoutMs),
      });
      return response.ok ? ((await response.json()) as { token: string }).token : null;
    } catch {
      return null;
    }
  }
}

function customHeaders(text: string | undefined): Record<string, string> {
  try {
    return JSON.parse(text ?? "{}") as Record<string, string>;
  } catch {
    return {};
  }
}
