// A model of a container engine, as far as lictor meets it. The containers go on when lictor processes and their disks are
// gone. Source: Docker Engine API 1.41.
import type { JsonObject } from "../../src/api/wire.ts";
import { readLabels } from "../../src/infrastructure/docker/container-labels.ts";
import {
  type Container,
  describe,
  type EngineAnswer,
  type EngineCall,
  hasLabel,
  noContainer,
  poolIdOf,
  refusal,
  short,
} from "./container.ts";
import type { Faults } from "./faults.ts";
import { ProgramProcess } from "./program-process.ts";
import { type ProcessParts, type RunProcess, startProcess } from "./run-process.ts";
import { epochMs, type Owner } from "./virtual-clock.ts";

/** The engine stores the start of a container within this time. */
const unstoredMs = 1_000;

/** What the engine needs of the world. */
export interface ContainerEngineParts extends ProcessParts {
  readonly faults: Faults;
  /** The owner of what the engine does. */
  readonly world: Owner;
}

/** An engine with its containers. */
export class ContainerEngine {
  readonly containers = new Map<string, Container>();
  /** While it is down, connections are refused. */
  isDown = false;
  /** While it is frozen, requests wait. */
  isFrozen = false;
  /** Changes with each loss of the engine's data. */
  daemonId = 1;
  #hasImage = false;
  /** The containers whose creation it remembers. */
  readonly #created = new Set<string>();
  /** Those who follow the events. */
  readonly #followers = new Set<(event: object) => void>();

  constructor(
    readonly name: string,
    /** Whether it is on another machine than the lictor processes. */
    readonly isRemote: boolean,
    private readonly parts: ContainerEngineParts,
  ) {}

  /** The containers that run. */
  running(): Container[] {
    return [...this.containers.values()].filter(({ process }) => process?.isAlive);
  }

  /** The claims that the containers of a flow run name, among those with the labels of this work pool. */
  claimsOf(flowRunId: string, poolId: string): string[] {
    const isFound = (container: Container): boolean =>
      container.flowRunId === flowRunId && poolIdOf(container) === poolId;
    return [...this.containers.values()].filter(isFound).flatMap(({ labels }) => readLabels(labels)?.attempt ?? []);
  }

  /** Kills what runs, as the end of the engine's machine does. */
  killAll(why: string): void {
    for (const { process } of this.running()) process?.signal("SIGKILL", why);
  }

  /** Loses everything, with the machine. */
  loseData(): void {
    this.killAll("machine lost");
    for (const container of this.containers.values()) loseExitCode(container);
    this.containers.clear();
    this.daemonId++;
    this.#hasImage = false;
  }

  /** Forgets what it has in memory only, as its end does. It may not have stored yet that a program was started. */
  forget(): void {
    const { faults, clock, truthOf, trace } = this.parts;
    this.#created.clear();
    for (const container of this.running()) {
      const isFresh = clock.now - (container.startedAt ?? 0) < unstoredMs;
      if (!isFresh || !(container.process instanceof ProgramProcess) || !faults.happens("start forgotten")) continue;
      container.status = "created";
      loseExitCode(container);
      truthOf(container.flowRunId).losses.push("its engine forgot its start");
      trace(() => `${this.name} forgot the start of ${short(container.id)}`);
    }
  }

  /** Calls `follower` for each event until the returned function is called. */
  follow(follower: (event: object) => void): () => void {
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  /** Returns the process whose output is followed by this request; null if there is none that runs. */
  followed({ path, query }: EngineCall): RunProcess | null {
    const process = query.get("follow") === "true" ? this.containers.get(path.split("/")[2] ?? "")?.process : null;
    return process?.isAlive ? process : null;
  }

  /** Executes one request. */
  handle(call: EngineCall): EngineAnswer | Promise<EngineAnswer> {
    const [, kind, id = "", action = ""] = call.path.split("/");
    const key = `${call.method} ${kind}${kind === "containers" ? `/${action || id}` : ""}`;
    const container = this.containers.get(id);
    if (kind === "containers" && /^[0-9a-f]{64}$/.test(id) && !container) return noContainer(id);
    switch (key) {
      case "GET version":
        return { status: 200, body: { Version: "20.10.24", ApiVersion: "1.41" } };
      case "GET _ping":
        return { status: 200, body: "OK" };
      case "GET info":
        return { status: 200, body: { ID: `${this.name}-${this.daemonId}` } };
      case "GET events":
        return { status: 200, body: this.#pastEvent(call.query) };
      case "GET images":
        return this.#hasImage ? { status: 200, body: {} } : refusal(404, "No such image");
      case "POST images":
        return this.#pull();
      case "GET containers/json":
        return { status: 200, body: container ? describe(container) : this.#list(call.query) };
      case "POST containers/create":
        return this.#create(call.body);
      case "POST containers/start":
        return this.#start(container as Container);
      case "POST containers/stop":
        return this.#stop(container as Container, Number(call.query.get("t")));
      case "GET containers/logs":
        return { status: 200 };
      case "HEAD containers/archive":
        // The place for the mount is made when the program begins.
        if (container?.startedAt !== null) return { status: 200 };
        return refusal(404, "Could not find the file in container");
      case "GET containers/archive":
        return refusal(404, "Could not find the file in container");
    }
    if (call.method !== "DELETE" || !container) throw new Error(`the model of the engine knows no ${key}`);
    this.remove(container, "container removed");
    return { status: 204 };
  }

  /** Removes a container, also if it runs. */
  remove(container: Container, why: string): void {
    const { id, process } = container;
    if (!this.containers.delete(id)) return;
    process?.signal("SIGKILL", why);
    loseExitCode(container);
    this.#publish(container, "destroy");
  }

  async #pull(): Promise<EngineAnswer> {
    const { clock, random, world, faults } = this.parts;
    const isSlow = faults.happens("engine slow");
    await clock.pause(random() * (isSlow ? 60_000 : 2_000), world);
    this.#hasImage = true;
    return { status: 200, body: { status: "Pulling from i" } };
  }

  #list(query: URLSearchParams): object[] {
    const { label } = JSON.parse(query.get("filters") ?? "{}") as { label: string[] };
    const all = query.get("all") === "true";
    return [...this.containers.values()]
      .filter(({ labels, status }) => (all || status === "running") && label.every((each) => hasLabel(labels, each)))
      .map(({ id, status, labels, createdMs }) => ({
        Id: id,
        State: status,
        Labels: labels,
        Created: createdMs / 1000,
      }))
      .reverse();
  }

  #create({ Labels, Env, HostConfig }: JsonObject): EngineAnswer {
    const { clock, faults, truthOf, nextPid } = this.parts;
    const variable = (Env as string[]).find((each) => each.startsWith("PREFECT__FLOW_RUN_ID=")) ?? "";
    const flowRunId = variable.slice(variable.indexOf("=") + 1);
    if (faults.happens("start failed")) {
      truthOf(flowRunId).losses.push("its container could not be created");
      return refusal(400, "invalid reference format");
    }
    if (faults.happens("machine short")) return refusal(500, "no space left on device");
    const container: Container = {
      id: nextPid().toString(16).padStart(64, "0"),
      flowRunId,
      labels: Labels as Record<string, string>,
      autoRemove: (HostConfig as JsonObject).AutoRemove === true,
      createdMs: epochMs + Math.floor(clock.now),
      status: "created",
      exitCode: 0,
      finishedAt: "0001-01-01T00:00:00Z",
      process: null,
      startedAt: null,
      tmpfs: ((HostConfig as JsonObject).Tmpfs ?? {}) as JsonObject,
    };
    this.containers.set(container.id, container);
    this.#created.add(container.id);
    return { status: 201, body: { Id: container.id } };
  }

  /** The creation of one container, if it is remembered. */
  #pastEvent(query: URLSearchParams): object | undefined {
    const { container } = JSON.parse(query.get("filters") ?? "{}") as { container: [string] };
    return this.#created.has(container[0]) ? { Type: "container", Action: "create" } : undefined;
  }

  #start(container: Container): EngineAnswer {
    const { faults, clock, random, world, truthOf, trace } = this.parts;
    const { id, flowRunId } = container;
    if (container.status === "running") return { status: 304 };
    if (container.process?.isAlive) return refusal(500, `task ${id}: already exists`);
    if (faults.happens("start failed")) {
      truthOf(flowRunId).losses.push("its container could not be started");
      return refusal(400, "executable file not found in $PATH");
    }
    const process = startProcess(this.parts, { flowRunId, controller: null });
    container.process = process;
    container.status = "running";
    container.startedAt = clock.now;
    trace(() => `${this.name} started ${process.owner.name} for ${flowRunId} in container ${short(id)}`);
    this.#publish(container, "start");
    process.onEnd(world, () => this.#onEnd(container, process));
    if (faults.happens("process killed"))
      clock.after(random() * 20_000, process.owner, () => process.signal("SIGKILL", "out of memory"));
    if (faults.happens("container removed"))
      clock.after(random() * 20_000, world, () => this.remove(container, "somebody removed its container"));
    return { status: 204 };
  }

  #onEnd(container: Container, process: RunProcess): void {
    const { clock, faults, random, world } = this.parts;
    const { status = 0 } = process.ending ?? {};
    if (container.status !== "running") return;
    container.status = "exited";
    // A shell counts a death by signal from 128 on.
    container.exitCode = status < 0 ? 128 - status : status;
    container.finishedAt = new Date(epochMs + Math.floor(clock.now)).toISOString();
    this.#publish(container, "die", { exitCode: String(container.exitCode) });
    if (container.autoRemove) this.remove(container, "");
    else if (faults.happens("container removed"))
      clock.after(random() * 2_000, world, () => this.remove(container, ""));
  }

  async #stop({ process }: Container, graceSeconds: number): Promise<EngineAnswer> {
    const { clock, world } = this.parts;
    if (!process?.isAlive) return { status: 304 };
    process.signal("SIGTERM", "stopped");
    clock.after(graceSeconds * 1_000, world, () => process.signal("SIGKILL", "stopped"));
    await new Promise<void>((resolve) => process.onEnd(world, resolve));
    return { status: 204 };
  }

  #publish({ id, labels }: Container, Action: string, attributes: object = {}): void {
    if (this.isDown) return;
    const event = { Type: "container", Action, Actor: { ID: id, Attributes: { ...labels, ...attributes } } };
    for (const follower of this.#followers) follower(event);
  }
}

/** Only the container has the exit code. */
function loseExitCode({ process }: Container): void {
  if (process instanceof ProgramProcess) process.loseRecord();
}
