// A container of the model of a container engine, and the shapes of requests and responses.
import type { JsonObject } from "../../src/api/wire.ts";
import type { RunProcess } from "./run-process.ts";

/** A container. */
export interface Container {
  readonly id: string;
  readonly flowRunId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly autoRemove: boolean;
  readonly createdMs: number;
  status: "created" | "running" | "exited";
  exitCode: number;
  finishedAt: string;
  /** Null before the start. */
  process: RunProcess | null;
  /** When it was started, by the clock of the simulation; null before that. */
  startedAt: number | null;
  readonly tmpfs: JsonObject;
}

/** A request without the version. */
export interface EngineCall {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: JsonObject;
}

/** The response to a request. */
export interface EngineAnswer {
  readonly status: number;
  /** Text, or what is sent as JSON. */
  readonly body?: unknown;
}

/** Returns the id of the work pool that the container belongs to, as far as workers look for it. */
export function poolIdOf({ labels }: Container): string | undefined {
  return labels["io.lictor.work-pool-id"];
}

/** Returns what the engine says about a container. */
export function describe({ id, labels, status, exitCode, createdMs, finishedAt, tmpfs }: Container): object {
  return {
    Id: id,
    Created: new Date(createdMs).toISOString(),
    Name: `/c${short(id)}`,
    State: { Status: status, ExitCode: exitCode, OOMKilled: false, Error: "", FinishedAt: finishedAt },
    Config: { Labels: labels, Tty: false, Env: [] },
    HostConfig: { Tmpfs: tmpfs },
  };
}

/** Returns whether the labels have this one, with its value if it names one. */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const [name = "", value] = wanted.split("=");
  return value === undefined ? name in labels : labels[name] === value;
}

/** Returns the response to a request about a container that the engine does not have. */
export function noContainer(id: string): EngineAnswer {
  return refusal(404, `No such container: ${id}`);
}

/** Returns the response to a request that the engine refuses. */
export function refusal(status: number, message: string): EngineAnswer {
  return { status, body: { message } };
}

/** Returns a short name for the trace. */
export function short(id: string): string {
  return id.replace(/^0+/, "");
}
