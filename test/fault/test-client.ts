// The API client of the tests in this folder: against a scripted server, without jitter in its waits, silent.
import pino from "pino";
import { Agents } from "../../src/api/agents.ts";
import { ApiClient, type ApiClientOptions } from "../../src/api/client.ts";
import type { AgentsOptions } from "../../src/api/connection-options.ts";
import { Credentials } from "../../src/api/credentials.ts";
import type { Authorization } from "../../src/settings/connection.ts";

/** Everything but where the API is; there are no credentials, and CSRF is off, unless a test is about them. */
export type ClientChanges = Partial<Omit<ApiClientOptions, "address">> & { isCloud?: boolean };

const none: Authorization = { kind: "none", header: null, token: null, origin: "nothing" };

/** Credentials that stay what they are. */
export function fixedCredentials(authorization: Authorization = none): Credentials {
  return new Credentials({ authorization, fallback: null });
}

/** An API key, and how it is sent over HTTP. */
export function bearer(key: string): Authorization {
  return { kind: "bearer", header: `Bearer ${key}`, token: key, origin: 'PREFECT_API_KEY from profile "prod"' };
}

/** Agents without a proxy. */
export function testAgents(tls: AgentsOptions["tls"] = { ca: undefined, rejectUnauthorized: true }): Agents {
  return new Agents({ tls, proxyFor: () => undefined, timeoutMs: 10_000 });
}

/** A client for `<origin>/api` that waits the middle of every range. */
export function openTestClient(origin: string, changes: ClientChanges = {}): ApiClient {
  const { isCloud = false, ...rest } = changes;
  return new ApiClient({
    address: { apiUrl: `${origin}/api`, isCloud },
    credentials: fixedCredentials(),
    customHeaders: {},
    csrfEnabled: false,
    requestTimeoutMs: 10_000,
    maxRetries: 5,
    jitter: 0.2,
    retryExtraCodes: new Set(),
    tls: { ca: undefined, rejectUnauthorized: true },
    proxyFor: () => undefined,
    log: pino({ level: "silent" }),
    random: () => 0.5,
    ...rest,
  });
}

/** A source of randomness that counts how often a wait was drawn, that is, how often an attempt is to be repeated. */
export function countingRandom(): { random: () => number; readonly draws: number } {
  let draws = 0;
  return {
    random: () => {
      draws++;
      return 0.5;
    },
    get draws() {
      return draws;
    },
  };
}

/** What a promise was rejected with; fails if it was not. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => {
      throw new Error(`expected a rejection, got ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );
}

/** A log, and what has been written to it: the level's number and the message. */
export function capturedLog(): { log: pino.Logger; records: { level: number; msg: string }[] } {
  const records: { level: number; msg: string }[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => void records.push(JSON.parse(line)) });
  return { log, records };
}

/** The messages of a captured log from this level on. */
export function messagesFrom(level: number, { records }: ReturnType<typeof capturedLog>): string[] {
  return records.filter((record) => record.level >= level).map(({ msg }) => msg);
}
