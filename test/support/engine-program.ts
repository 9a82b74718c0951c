// The program of a container engine for the tests, and requests to it.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { endChild, signalProcess } from "./processes.ts";
import { runCommand } from "./run-command.ts";
import { waitFor } from "./wait-for.ts";

/** The answer of the engine. */
export interface EngineAnswer<T> {
  status: number;
  body: T;
}

/** A running engine, Docker or Podman. Disposing ends it and its containers, and removes all that it has made. */
export interface DockerEngine extends AsyncDisposable {
  /** The value of DOCKER_HOST. */
  host: string;
  socketPath: string;
  pid(): number;
  request<T = unknown>(method: string, path: string, body?: unknown): Promise<EngineAnswer<T>>;
  /** Stops the engine by a signal until the outage ends. Its containers go on. */
  stopped(signal?: NodeJS.Signals): Promise<EngineOutage>;
}

/** The time in which the engine does not run. Disposing ends it, so a test that fails leaves an engine to the next one. */
export interface EngineOutage extends AsyncDisposable {
  /** Starts the engine, unless that was done. */
  end(): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 15_000;
/** On a busy machine, dockerd ends if containerd does not answer in time. A supervisor would start it again. */
const ATTEMPTS = 3;

/** What is started. */
export interface EngineProgram {
  /** For all its files. Disposing removes it. */
  directory: string;
  command: readonly [string, ...string[]];
  /** Where it listens. */
  socketPath: string;
  /** Ends what the program leaves behind. */
  cleanUp(): Promise<void>;
}

/** Starts an engine. Throws with the end of its log if it does not come up. */
export async function startEngine({ directory, command, socketPath, cleanUp }: EngineProgram): Promise<DockerEngine> {
  const log = join(directory, "engine.log");
  let child: ChildProcess | undefined;
  const request: DockerEngine["request"] = (method, path, body) => askEngine(socketPath, method, path, body);
  const endAtExit = () => child?.pid && signalProcess(child.pid, "SIGKILL");
  process.once("exit", endAtExit);
  const startOnce = async () => {
    const started = spawn("sh", ["-c", `exec "$@" >>"${log}" 2>&1`, "sh", ...command], {
      cwd: directory,
      stdio: "ignore",
      detached: true,
    });
    child = started;
    const isUp = async () =>
      hasEnded(started) || (await request("GET", "/_ping").catch(() => undefined))?.status === 200;
    await waitFor(isUp, { timeoutMs: START_TIMEOUT_MS, what: command[0] });
    return !hasEnded(started);
  };
  const start = async () => {
    for (let attempt = 1; !(await startOnce()); attempt++) {
      if (attempt === ATTEMPTS) throw new Error(`${command[0]} ended:\n${(await readFile(log, "utf8")).slice(-2000)}`);
    }
  };
  const engine: DockerEngine = {
    host: `unix://${socketPath}`,
    socketPath,
    pid: () => child?.pid ?? 0,
    request,
    async stopped(signal = "SIGTERM") {
      if (child && !hasEnded(child)) {
        const exited = once(child, "exit");
        child.kill(signal);
        await exited;
      }
      const end = async () => {
        if (!child || hasEnded(child)) await start();
      };
      return { end, [Symbol.asyncDispose]: end };
    },
    async [Symbol.asyncDispose]() {
      await removeContainers(engine).catch(() => undefined);
      if (child?.pid) await endChild(child, child.pid, STOP_GRACE_MS);
      process.off("exit", endAtExit);
      await cleanUp();
      await unmountBelow(directory);
      await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
  try {
    await start();
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
  return engine;
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

async function removeContainers(engine: DockerEngine): Promise<void> {
  const { body } = await engine.request<{ Id: string }[]>("GET", "/containers/json?all=1");
  for (const { Id } of body) await engine.request("DELETE", `/containers/${Id}?force=1&v=1`);
}

async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile("/proc/mounts", "utf8")).split("\n").map((line) => line.split(" ")[1] ?? "");
  for (const mount of mounts.filter((path) => path.startsWith(`${directory}/`)).reverse()) {
    await runCommand("umount", ["-l", mount]);
  }
}

/** Sends one request to the engine. */
export async function askEngine<T>(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<EngineAnswer<T>> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return await new Promise((resolve, reject) => {
    const request = httpRequest(
      { socketPath, method, path, headers: text === undefined ? {} : { "content-type": "application/json" } },
      (response) => {
        let answer = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          answer += part;
        });
        response.on("end", () => {
          const isJson = /json/.test(response.headers["content-type"] ?? "") && answer !== "";
          resolve({ status: response.statusCode ?? 0, body: (isJson ? JSON.parse(answer) : answer) as T });
        });
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    request.end(text);
  });
}
