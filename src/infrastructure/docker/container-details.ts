// What the engine says of containers.
import type { Engine } from "./engine/engine.ts";
import { isMissing } from "./engine/engine-error.ts";

/** Whatever has the engine. */
interface HasEngine {
  readonly engine: Engine;
}

/** What the engine says of a container. Source: Docker Engine API, ContainerInspect. */
export interface ContainerDetails {
  readonly Id: string;
  /** ISO 8601, by the clock of the engine. */
  readonly Created: string;
  /** Begins with a slash. */
  readonly Name: string;
  readonly State: ContainerState;
  readonly Config: ContainerConfig;
  readonly HostConfig: {
    readonly Memory?: number;
    readonly AutoRemove?: boolean;
    readonly Tmpfs?: Readonly<Record<string, string>> | null;
  };
}

/** How a container was created. */
export interface ContainerConfig {
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly Tty: boolean;
  /** With the variables of the image. */
  readonly Env?: readonly string[] | null;
}

/** The state of a container. */
export interface ContainerState {
  readonly Status: string;
  readonly ExitCode: number;
  readonly OOMKilled: boolean;
  /** Why it could not be started or continued; usually empty. */
  readonly Error: string;
  readonly FinishedAt: string;
}

/** An entry of the list of containers. */
export interface ListedContainer {
  readonly Id: string;
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>> | null;
  /** Seconds since 1970. */
  readonly Created: number;
}

/** Returns what the engine says of a container. Throws as `Engine.request` does. */
export async function inspect({ engine }: HasEngine, id: string, signal?: AbortSignal): Promise<ContainerDetails> {
  return await engine.request<ContainerDetails>("GET", `/containers/${id}/json`, { signal });
}

/** Returns what the engine says of a container; null if it has none with this id. Throws as `Engine.request` does. */
export async function inspectIfThere(
  has: HasEngine,
  id: string,
  signal?: AbortSignal,
): Promise<ContainerDetails | null> {
  try {
    return await inspect(has, id, signal);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Returns whether a container with this status was not started yet. Podman has two words for it. */
export function neverStarted(status: string): boolean {
  return status === "created" || status === "initialized";
}

/**
 * Returns the containers with this label, the newest first: those that run, restart or pause, or `all`. Throws as
 * `Engine.request` does.
 */
export async function listContainers(
  { engine }: HasEngine,
  label: string,
  { all, signal }: { all: boolean; signal?: AbortSignal },
): Promise<ListedContainer[]> {
  return await engine.request("GET", "/containers/json", { query: { all, filters: { label: [label] } }, signal });
}

/** Returns the name of a container without its slash. */
export function nameOf({ Name }: Pick<ContainerDetails, "Name">): string {
  return Name.replace(/^\//, "");
}
