// A Python process that has imported Prefect's engine and forks a process for each flow run. The fork takes some
// milliseconds; a new Python needs a second or more to import the engine.
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Duplex } from "node:stream";
import type { ProcessExit } from "../process/start-process.ts";
import { forkServerScript, forkServerStart } from "./fork-server-script.ts";

/** How a server is started. */
export interface ForkServerOptions {
  readonly python: string;
  /** The environment of the import. Variables of a flow run are not part of it. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether its processes print to lictor's own output. */
  readonly inheritsOutput: boolean;
  /** The server ends when it has had no process for this long. */
  readonly idleSeconds: number;
  /** Names of modules to import besides the engine. */
  readonly preload: readonly string[];
}

/** The flow run to start. */
export interface ForkRequest {
  readonly flowRunId: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** The files for standard output and error. Null for those of the server. */
  readonly output: readonly [stdout: string, stderr: string] | null;
}

/** A forked process, which waits for `go`. It leads its own session and process group. */
export interface ForkedProcess {
  readonly pid: number;
  /** Lets the engine begin. Without it, the process ends when the server or lictor ends. */
  go(): void;
  /** Resolves at the end of the process; with null if the server ended before. Never rejects. */
  readonly exited: Promise<ProcessExit | null>;
}

/** A module that a server did not import. */
export interface RefusedModule {
  readonly module: string;
  readonly why: string;
}

/** Whether a server can fork. `refused` are modules of `preload`. */
export type Readiness =
  | { readonly kind: "ready"; readonly refused: readonly RefusedModule[] }
  /** A module started a thread. The child of a process with threads may stand still. */
  | { readonly kind: "threads"; readonly refused: readonly RefusedModule[] }
  | { readonly kind: "failed"; readonly why: string };

/** The messages of the server. */
type Message =
  | { ready: number; threads: number; refused: RefusedModule[] }
  | { failed: string }
  | { id: number; pid: number }
  | { id: number; problem: string }
  | { ended: number; status: number };

/** A fork takes some milliseconds. A server that needs longer than this is ended, and the flow run starts without it. */
const forkTimeoutMs = 5_000;

/** The names of the signals by their numbers. A few numbers have several names, of which the first is the usual one. */
const signalNames = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/** A running server. Disposing ends it; its processes go on. */
export class ForkServer implements Disposable {
  /** Resolves when the engine is imported. Never rejects. */
  readonly ready: Promise<Readiness>;
  /** Resolves when the server has ended. Never rejects. */
  readonly over: Promise<void>;
  #isOver = false;
  #requests = 0;
  readonly #socket: Duplex;
  readonly #answers = new Map<number, (answer: ForkedProcess | string) => void>();
  readonly #ends = new Map<number, (exit: ProcessExit | null) => void>();
  #onReady: (readiness: Readiness) => void = () => {};
  readonly #child: ChildProcess;

  constructor({ python, env, inheritsOutput, idleSeconds, preload }: ForkServerOptions) {
    const output = inheritsOutput ? "inherit" : "ignore";
    // The placeholder is overwritten by each process with its own id, by which the next worker finds it.
    const placeholder = { PREFECT__FLOW_RUN_ID: "00000000-0000-0000-0000-000000000000" };
    this.#child = spawn(python, ["-c", forkServerStart, forkServerScript, String(idleSeconds), ...preload], {
      // A directory without settings files and modules. Python would read those of the working directory.
      cwd: "/proc",
      env: { ...env, ...placeholder },
      detached: true,
      stdio: ["ignore", output, output, "pipe"],
    });
    this.#socket = this.#child.stdio[3] as Duplex;
    this.ready = new Promise((resolve) => {
      this.#onReady = resolve;
    });
    this.over = new Promise((resolve) => {
      this.#child.once("error", (error) => this.#end(`cannot be started: ${error.message}`, resolve));
      this.#child.once("exit", () => this.#end("ended", resolve));
    });
    let received = "";
    this.#socket.setEncoding("utf8");
    this.#socket.on("error", () => {});
    this.#socket.on("data", (chunk: string) => {
      const lines = (received + chunk).split("\n");
      received = lines.pop() ?? "";
      for (const line of lines) this.#receive(JSON.parse(line) as Message);
    });
    // Flow runs in flight keep the program alive. An idle server must not.
    this.#child.unref();
    (this.#socket as Duplex & { unref?(): void }).unref?.();
  }

  /** Whether the server has ended, or is being ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** How many of its processes run. */
  get processes(): number {
    return this.#ends.size;
  }

  /**
   * Forks a process for the flow run that is asked for next, because a fork takes some 10 ms. Without a request, that process
   * ends after a second.
   */
  expect(): void {
    if (!this.#isOver) this.#send({ expect: true });
  }

  /** Returns the forked process, or why the flow run has to be started without this server. Never rejects. */
  async fork(request: ForkRequest): Promise<ForkedProcess | string> {
    if (this.#isOver) return "ended";
    this.#requests += 1;
    const id = this.#requests;
    return await new Promise<ForkedProcess | string>((resolve) => {
      this.#answers.set(id, resolve);
      this.#send({ id, cwd: request.cwd, env: request.env, output: request.output });
      setTimeout(() => {
        if (!this.#answers.has(id)) return;
        // A process that waits for `go` ends together with the server.
        this.#child.kill("SIGKILL");
        this.#answer(id, `did not fork within ${forkTimeoutMs / 1000} s`);
      }, forkTimeoutMs).unref();
    });
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#socket.end();
  }

  #send(message: object): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  #receive(message: Message): void {
    if ("ready" in message) {
      this.#onReady({ kind: message.threads > 1 ? "threads" : "ready", refused: message.refused });
    } else if ("failed" in message) {
      this.#onReady({ kind: "failed", why: message.failed });
    } else if ("ended" in message) {
      const { ended, status } = message;
      this.#ends.get(ended)?.(toExit(status));
      this.#ends.delete(ended);
    } else {
      this.#answer(message.id, "pid" in message ? this.#forked(message.pid) : message.problem);
    }
  }

  #forked(pid: number): ForkedProcess {
    const exited = new Promise<ProcessExit | null>((resolve) => this.#ends.set(pid, resolve));
    return { pid, exited, go: () => this.#send({ go: pid }) };
  }

  #answer(id: number, answer: ForkedProcess | string): void {
    this.#answers.get(id)?.(answer);
    this.#answers.delete(id);
  }

  #end(why: string, resolve: () => void): void {
    this.#isOver = true;
    this.#socket.destroy();
    this.#onReady({ kind: "failed", why });
    for (const id of this.#answers.keys()) this.#answer(id, why);
    for (const onEnd of this.#ends.values()) onEnd(null);
    this.#ends.clear();
    resolve();
  }
}

/** `status` is an exit code, or the negative number of a signal. */
function toExit(status: number): ProcessExit {
  if (status >= 0) return { code: status, signal: null };
  return { code: null, signal: (signalNames.get(-status) ?? "SIGKILL") as NodeJS.Signals };
}
