// The container engine of a chaos run, and the containers of its flow runs.
import { setTimeout as delay } from "node:timers/promises";
import { startDockerEngine } from "../support/docker-engine.ts";
import type { DockerEngine } from "../support/engine-program.ts";
import { freezeProcess } from "../support/processes.ts";

/** A container, by its labels. */
export interface FoundContainer {
  id: string;
  /** Empty for a container that lictor did not create. */
  flowRunId: string;
  /** The engine's word, such as `running`. */
  state: string;
}

/** A private engine. What happens to it happens in turn. Disposing ends it and its containers. */
export class Containers implements AsyncDisposable {
  #turn: Promise<unknown> = Promise.resolve();
  /** When the engine was told to end, in milliseconds since 1970. */
  readonly endedAtMs: number[] = [];

  private constructor(
    private readonly engine: DockerEngine,
    private readonly onEvent: (event: string) => void,
  ) {}

  /** Starts an engine. `onEvent` is told of its ends and starts. */
  static async open(onEvent: (event: string) => void): Promise<Containers> {
    return new Containers(await startDockerEngine(), onEvent);
  }

  /** The value of DOCKER_HOST. */
  get host(): string {
    return this.engine.host;
  }

  /** Ends the engine and starts it again after `pauseMs`. */
  restart(how: "SIGTERM" | "SIGKILL", pauseMs: number): Promise<void> {
    return this.#inTurn(async () => {
      this.endedAtMs.push(Date.now());
      this.onEvent(`${how} to the container engine`);
      await using outage = await this.engine.stopped(how);
      await delay(pauseMs);
      await outage.end();
      this.onEvent("the container engine started");
    });
  }

  /** Lets the engine stand still for some time. */
  freeze(durationMs: number): Promise<void> {
    return this.#inTurn(() => freezeProcess(this.engine.pid(), durationMs));
  }

  /** Returns all containers, also those that have ended. */
  list(): Promise<FoundContainer[]> {
    return this.#inTurn(async () => {
      type Listed = { Id: string; State: string; Labels: Record<string, string> };
      const { body } = await this.engine.request<Listed[]>("GET", "/containers/json?all=1");
      return body.map(({ Id, State, Labels }) => ({
        id: Id,
        flowRunId: Labels["io.lictor.flow-run-id"] ?? "",
        state: State,
      }));
    });
  }

  /** Kills a container, and also removes it if `isRemoved`. */
  kill(id: string, isRemoved: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (isRemoved) await this.engine.request("DELETE", `/containers/${id}?force=1&v=1`);
      else await this.engine.request("POST", `/containers/${id}/kill`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inTurn(async () => await this.engine[Symbol.asyncDispose]());
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return await mine;
  }
}
