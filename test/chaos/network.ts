// The network between the workers and the server: a proxy that breaks what the faults of the moment say.
import { setTimeout as delay } from "node:timers/promises";
import { type BlackHoleRelay, startBlackHoleRelay } from "../support/black-hole-relay.ts";
import type { Random } from "../support/random.ts";
import { type Answer, startReverseProxy } from "../support/reverse-proxy.ts";
import type { Gate } from "./gate.ts";
import type { FaultKind } from "./plan.ts";

/** The faults of the network that last for some time. */
export type NetworkFault = Extract<
  FaultKind,
  "503" | "429" | "reset-before" | "reset-after" | "latency" | "lost-events"
>;

/** The part of the requests that a fault strikes. */
const rate = 0.6;
const longestDelayMs = 5_000;

/** The ways to the server. Disposing closes them. */
export interface Network extends AsyncDisposable {
  /** For workers. */
  faultyApiUrl: string;
  /** For engines, which do not outlive a lost response. They wait while the server is restarted. */
  gentleApiUrl: string;
  /** Breaks the faulty way for some time. Returns how often. */
  breakFor(fault: NetworkFault, durationMs: number): Promise<number>;
  /** Makes a part of the open connections half-open. Returns how many. */
  swallow(): number;
}

/** A fault of the moment. */
interface Active {
  fault: NetworkFault;
  hits: number;
}

/** Opens both ways to the server at `apiUrl`. */
export async function openNetwork(apiUrl: string, gate: Gate, random: Random): Promise<Network> {
  const active = new Set<Active>();
  const strikes = (fault: NetworkFault): boolean => {
    const found = [...active].find((each) => each.fault === fault);
    if (!found || random() > rate) return false;
    found.hits++;
    return true;
  };
  const faulty = await startReverseProxy(apiUrl, {
    aroundForward: (_request, forward) => forwardFaultily(strikes, random, forward),
    onUpgrade: async () => {
      if (strikes("latency")) await delay(random() * longestDelayMs);
      if (strikes("reset-before")) throw new Error("reset");
      return strikes("503") ? 503 : undefined;
    },
    relayRules: () => ({ fromServer: (frame) => (strikes("lost-events") ? null : frame) }),
  });
  const relay: BlackHoleRelay = await startBlackHoleRelay(Number(new URL(faulty.apiUrl).port));
  const gentle = await startReverseProxy(apiUrl, {
    aroundForward: (_request, forward) => gate.pass(forward),
  });
  return {
    faultyApiUrl: `http://127.0.0.1:${relay.port}${new URL(faulty.apiUrl).pathname}`,
    gentleApiUrl: gentle.apiUrl,
    async breakFor(fault, durationMs) {
      const started: Active = { fault, hits: 0 };
      active.add(started);
      await delay(durationMs);
      active.delete(started);
      return started.hits;
    },
    swallow: () => relay.swallow(() => random() < rate),
    async [Symbol.asyncDispose]() {
      for (const each of [relay, faulty, gentle]) await each[Symbol.asyncDispose]();
    },
  };
}

async function forwardFaultily(
  strikes: (fault: NetworkFault) => boolean,
  random: Random,
  forward: () => Promise<Answer>,
): Promise<Answer> {
  const delayMs = strikes("latency") ? random() * longestDelayMs : 0;
  const isLate = random() < 0.5;
  if (!isLate) await delay(delayMs);
  if (strikes("503")) return { status: 503, body: "the server is away" };
  if (strikes("429")) return { status: 429, headers: { "retry-after": "1" } };
  if (strikes("reset-before")) throw new Error("reset");
  const answer = await forward();
  if (strikes("reset-after")) throw new Error("reset");
  if (isLate) await delay(delayMs);
  return answer;
}
