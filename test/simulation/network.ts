// The network between lictor, engines and the server model.
import { UnreachableError } from "../../src/api/errors.ts";
import type { HttpRequest, HttpResponse } from "../../src/api/http-message.ts";
import { isFinal } from "../../src/run/states.ts";
import type { Socket } from "../../src/sockets/socket.ts";
import { SocketError } from "../../src/sockets/socket-error.ts";
import type { Random } from "../support/random.ts";
import { EventSockets } from "./event-sockets.ts";
import type { Faults } from "./faults.ts";
import type { ServerModel } from "./server-model.ts";
import type { ModelRun, ModelState } from "./state-rules.ts";
import type { Owner, VirtualClock } from "./virtual-clock.ts";

/** What the network consists of. */
export interface NetworkParts {
  readonly clock: VirtualClock;
  readonly server: ServerModel;
  readonly faults: Faults;
  readonly random: Random;
  /** The owner of what the server does. */
  readonly world: Owner;
  readonly trace: (line: () => string) => void;
  /** Called at each step of a lictor process. It may kill the process. */
  readonly onStep: (owner: Owner) => void;
}

/** The path of a request: how long it takes, how often it arrives, and what the sender learns. */
interface Fate {
  /** When the request arrives, in milliseconds from now. Empty if it is lost. */
  arrivals: number[];
  /** The sender gets the response of the first arrival. */
  isAnswered: boolean;
  /** Without a response: the connection breaks after this time. Null if it stays silent. */
  brokenAfterMs: number | null;
  /** A proxy responds with this status, and the server does not see the request, or the server fails after its commit. */
  status: number | null;
}

/** A proposal of a state. */
interface Proposal {
  readonly run: ModelRun;
  /** The state of the flow run when the proposal was sent. */
  readonly sentFor: ModelState;
}

/** A request, as far as the network needs it. */
type SentRequest = Pick<HttpRequest, "url" | "method" | "headers" | "body" | "timeoutMs" | "signal">;

/** The event that engines send at an interval. */
export const heartbeatEvent = "prefect.flow-run.heartbeat";
/** The network. Each sender is an owner; nothing reaches an owner that is dead. */
export class Network {
  /** While true, the server refuses connections. */
  isServerDown = false;
  /** How many requests each owner has sent. */
  readonly requestCounts = new Map<Owner, number>();
  /** Flow runs whose end was replaced by a proposal that was delivered late or twice. */
  readonly undone = new Set<string>();
  /** Who proposed the newest Pending of each flow run that the server accepted. */
  readonly claimants = new Map<string, Owner>();
  /** The requests that have not arrived yet. */
  readonly #underway = new Set<{ isLate(): boolean }>();
  readonly #events: EventSockets;

  constructor(private readonly parts: NetworkParts) {
    this.#events = new EventSockets(parts);
    parts.server.onState = (run, state, poolId) => this.#events.publish(run, state, poolId);
  }

  /** Sends one request of `owner`. Rejects with UnreachableError, or with the abort reason. */
  async send(owner: Owner, request: SentRequest): Promise<HttpResponse> {
    if (!owner.isEngine) this.parts.onStep(owner);
    if (!owner.alive) return await new Promise(() => undefined);
    this.requestCounts.set(owner, (this.requestCounts.get(owner) ?? 0) + 1);
    const { clock, world, trace } = this.parts;
    const { url, method, body, signal, timeoutMs } = request;
    const path = url.pathname.replace(/^\/api/, "") + url.search;
    const fate = this.#fate(owner);
    const proposal = this.#proposal(path);
    const label = `${owner.name}: ${method} ${path}`;
    trace(() => `${label} ${shorten(body)}`);
    return await new Promise<HttpResponse>((resolve, reject) => {
      let isOver = false;
      const finish = (end: () => void): void => {
        isOver = true;
        cancelTimeout();
        signal?.removeEventListener("abort", onAbort);
        end();
      };
      const fail = (code: string): void =>
        finish(() => {
          trace(() => `${label} -> ${code}`);
          reject(new UnreachableError(url.origin, code, new Error(code)));
        });
      const onAbort = (): void => finish(() => reject(signal?.reason));
      const respond = (status: number, text: string): void =>
        finish(() => {
          trace(() => `${label} -> ${status} ${shorten(text)}`);
          resolve({ status, headers: jsonType, body: text, url, sent: request.headers });
        });
      const cancelTimeout = clock.after(timeoutMs, owner, () => fail("RESPONSE_TIMEOUT"));
      signal?.addEventListener("abort", onAbort);
      if (signal?.aborted) return onAbort();
      if (this.isServerDown) return void clock.after(this.#latencyMs(), owner, () => fail("ECONNREFUSED"));
      if (fate.brokenAfterMs !== null) clock.after(fate.brokenAfterMs, owner, () => fail("ECONNRESET"));
      const [first] = fate.arrivals;
      if (fate.status === 503) {
        clock.after(this.#latencyMs(), owner, () => respond(503, unavailable));
        return;
      }
      for (const arrival of fate.arrivals) {
        const isLate = (): boolean => arrival !== first || !fate.isAnswered || isOver || !owner.alive;
        const underway = { isLate };
        this.#underway.add(underway);
        clock.after(arrival, world, () => {
          this.#underway.delete(underway);
          if (this.isServerDown) return void clock.after(this.#latencyMs(), owner, () => fail("ECONNRESET"));
          // A proposal of an engine that has died would end the report of its worker.
          if (owner.isEngine && !owner.alive) return;
          const arrivesLate = isLate();
          const before = proposal?.run.state;
          const response = this.parts.server.handle(method, path, body === undefined ? undefined : JSON.parse(body));
          if (arrivesLate && method === "PATCH") this.#onLateChange(path, body);
          if (proposal && proposal.run.state !== before) this.#onAccepted(owner, proposal, arrivesLate);
          if (!owner.isEngine) this.parts.onStep(owner);
          if (arrivesLate) return trace(() => `${label} arrived, its response is lost`);
          const text = response.body === undefined ? "" : JSON.stringify(response.body);
          clock.after(this.#latencyMs(), owner, () => respond(fate.status ?? response.status, text));
        });
      }
    });
  }

  /** Opens the event subscription of `owner`. Other routes are refused, so the worker uses REST for the rest. */
  async openSocket(owner: Owner, route: string, signal: AbortSignal): Promise<Socket> {
    const { clock, faults } = this.parts;
    if (!owner.alive) return await new Promise(() => undefined);
    await clock.pause(this.#latencyMs(), owner);
    signal.throwIfAborted();
    if (route !== "/events/out") throw new SocketError("refused", { status: 403, isJson: true });
    if (this.isServerDown || faults.happens("socket closed")) throw new SocketError("no connection");
    return this.#events.open(owner);
  }

  /** Whether the flow run has a final state. */
  hasEnded(flowRunId: string): boolean {
    const run = this.parts.server.runs.get(flowRunId);
    return run !== undefined && isFinal(run.state);
  }

  /** Sends a heartbeat of an engine. It is lost while the server is down. */
  sendHeartbeat(flowRunId: string): void {
    if (!this.isServerDown) this.parts.server.events.add(flowRunId, heartbeatEvent);
  }

  /** Whether a request is still to arrive whose sender does not wait for it any more. */
  hasLateRequests(): boolean {
    return [...this.#underway].some(({ isLate }) => isLate());
  }

  /** Breaks all sockets, as a restart of the server does. */
  breakSockets(): void {
    this.#events.breakAll();
  }

  /** Returns the flow run for which a request proposes a state, with its state now. Undefined for other requests. */
  #proposal(path: string): Proposal | undefined {
    const run = this.parts.server.runs.get(/^\/flow_runs\/(.*)\/set_state$/.exec(path)?.[1] ?? "");
    return run && { run, sentFor: run.state };
  }

  /**
   * Records whose claim it is. Records a late proposal that took effect although others have gone on: the sender cannot know
   * of it, and the protocol has no means against it.
   */
  #onAccepted(owner: Owner, { run, sentFor }: Proposal, isLate: boolean): void {
    if (run.state_type === "PENDING") this.claimants.set(run.id, owner);
    if (isLate && wasOvertaken(sentFor, this.parts.server.histories.get(run.id) ?? [])) this.undone.add(run.id);
  }

  /** Records a late process id of a flow run that is scheduled again. The server waits for the end of that process if it is cancelled. */
  #onLateChange(path: string, body: string | undefined): void {
    const run = this.parts.server.runs.get(/^\/flow_runs\/([^/]*)$/.exec(path)?.[1] ?? "");
    if (run?.state_type === "SCHEDULED" && body?.includes('"infrastructure_pid":"')) this.undone.add(run.id);
  }

  #latencyMs(): number {
    return 1 + this.parts.random() * 30;
  }

  /**
   * Decides what happens to a request. Engines get only faults in which the server does not see the request, because their
   * own repetitions are not what is tested.
   */
  #fate({ isEngine }: Owner): Fate {
    const { faults, random } = this.parts;
    const up = faults.happens("slow request") ? random() * 20_000 : this.#latencyMs();
    const fate: Fate = { arrivals: [up], isAnswered: true, brokenAfterMs: null, status: null };
    // Half of the lost connections break at once. The others stay silent until the time limit of the request.
    const broken = (): number | null => (random() < 0.7 ? random() * 1_000 : null);
    if (faults.happens("503")) fate.status = 503;
    else if (!isEngine && faults.happens("500")) fate.status = 500;
    else if (faults.happens("request lost")) {
      fate.arrivals = [];
      fate.brokenAfterMs = broken();
    } else if (isEngine) {
      return fate;
    } else if (faults.happens("response lost")) {
      fate.isAnswered = false;
      const after = broken();
      fate.brokenAfterMs = after === null ? null : up + after;
    } else if (faults.happens("late request")) {
      fate.isAnswered = false;
      fate.brokenAfterMs = random() * 200;
      fate.arrivals = [fate.brokenAfterMs + random() * 5_000];
    } else if (faults.happens("doubled request")) fate.arrivals.push(up + random() * 1_000);
    return fate;
  }
}

const unavailable = JSON.stringify({ detail: "unavailable" });
const jsonType = { "content-type": "application/json" };

/**
 * Returns whether the newest state came too late: the flow run had ended, it had this state before, it has gone on since
 * the state was proposed, or the state is a claim although the flow run was claimed and given back before.
 */
function wasOvertaken(sentFor: ModelState, history: readonly ModelState[]): boolean {
  const earlier = history.slice(0, -1);
  const newest = history.at(-1);
  const before = earlier.at(-1);
  const transitionId = newest?.state_details.transition_id;
  if (isFinal(before) || earlier.some(({ state_details }) => state_details.transition_id === transitionId)) return true;
  if (newest?.type !== "PENDING") return before !== sentFor;
  return before?.type === "SCHEDULED" && earlier.some(({ type }) => type === "PENDING");
}

function shorten(text: string | undefined): string {
  return text === undefined ? "" : text.slice(0, 300);
}
