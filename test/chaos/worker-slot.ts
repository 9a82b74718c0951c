// One place for a worker, as a supervisor keeps it: the worker is started again when it has ended, under the same name.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { LICTOR } from "../support/lictor.ts";
import { signalProcess } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";
import { type FoundProcess, killProcesses } from "./run-processes.ts";

/** `home` is the HOME of all its workers; `logs` is the directory of their output. */
export interface SlotOptions {
  name: string;
  home: string;
  logs: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Is told of starts and ends. */
  onEvent: (event: string) => void;
  /** Is told what no fault explains. */
  onProblem: (problem: string) => void;
}

interface SlotWorker {
  child: ChildProcess;
  pid: number;
  log: string;
  exited: Promise<unknown>;
  /** Whether a fault or the end of the test ends it. */
  isToEnd: boolean;
}

/** A supervisor starts a worker again after this time. */
const restartMs = 1_000;
/** A start takes some 100 ms; the rest is for a busy machine and faults of the network. */
const startMs = 30_000;
/** Longer than any flow run, on a busy machine too. */
const drainMs = 150_000;

/** Its operations happen one after the other. Disposing kills everything that it has started. */
export class WorkerSlot implements AsyncDisposable {
  readonly #options: SlotOptions;
  readonly #draining = new Set<SlotWorker>();
  #current: SlotWorker | null = null;
  #starts = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: SlotOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** HOME of everything that workers of this place have started. */
  get home(): string {
    return this.#options.home;
  }

  /** Starts the worker and waits until it is at work. */
  open(): Promise<void> {
    return this.#inTurn(async () => {
      await mkdir(join(this.#options.home, "tmp"), { recursive: true });
      await this.#start();
      await this.#waitUntilStarted();
    });
  }

  /** SIGTERM, SIGKILL if it has not ended after `patienceMs`, and a new start. Returns what happened. */
  terminate(patienceMs: number, pauseMs: number): Promise<string> {
    return this.#inTurn(async () => {
      const ended = await this.#end("SIGTERM", patienceMs);
      await this.#startAfter(pauseMs);
      return ended ? "ended" : `killed after ${Math.round(patienceMs)} ms`;
    });
  }

  /** SIGKILL to the worker alone, and a new start. `afterwards` gets the process id before the start. */
  kill(pauseMs: number, afterwards: (pid: number) => Promise<void> = async () => {}): Promise<void> {
    return this.#inTurn(async () => {
      const pid = this.#current?.pid;
      await this.#end("SIGKILL", drainMs);
      if (pid !== undefined) await afterwards(pid);
      await this.#startAfter(pauseMs);
    });
  }

  /** SIGSTOP, and SIGCONT after some time. */
  pause(durationMs: number): Promise<void> {
    return this.#inTurn(async () => {
      const pid = this.#current?.pid;
      if (pid === undefined) return;
      this.#signal(pid, "SIGSTOP");
      await delay(durationMs);
      this.#signal(pid, "SIGCONT");
    });
  }

  /** SIGSTOP, and a new worker starts, as if the old one had ended. After some time the old one goes on and drains. */
  replaceFrozen(durationMs: number): Promise<void> {
    return this.#inTurn(async () => {
      const old = this.#current;
      if (!old) return;
      this.#signal(old.pid, "SIGSTOP");
      await this.#start();
      await this.#waitUntilStarted();
      await delay(durationMs);
      this.#signal(old.pid, "SIGCONT");
      void this.#drain(old);
    });
  }

  /** SIGKILL to the worker and everything that workers of this place have started, and a new start. Returns the victims. */
  killTree(pauseMs: number): Promise<FoundProcess[]> {
    return this.#inTurn(async () => {
      for (const worker of this.#all()) worker.isToEnd = true;
      await this.#end("SIGKILL", drainMs);
      const victims = await killProcesses([this.#options.home]);
      await this.#startAfter(pauseMs);
      return victims;
    });
  }

  /** A new worker starts, and then the old one is told to drain. */
  roll(): Promise<void> {
    return this.#inTurn(async () => {
      const old = this.#current;
      await this.#start();
      await this.#waitUntilStarted();
      if (old) void this.#drain(old);
    });
  }

  /** Waits until the workers that were replaced have ended. */
  async waitForDrains(): Promise<void> {
    await Promise.all([...this.#draining].map(({ exited }) => exited));
  }

  /** Tells the worker to drain and waits until it has ended. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      this.#isClosed = true;
      if (this.#current) await this.#drain(this.#current);
      this.#current = null;
      await this.waitForDrains();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const worker of this.#all()) worker.isToEnd = true;
    await killProcesses([this.#options.home]);
    await Promise.all(this.#all().map(({ exited }) => exited));
  }

  #signal(pid: number, signal: NodeJS.Signals): void {
    this.#options.onEvent(`${signal} to ${this.name} (pid ${pid})`);
    signalProcess(pid, signal);
  }

  #all(): SlotWorker[] {
    return [...this.#draining, ...(this.#current ? [this.#current] : [])];
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return await mine;
  }

  async #start(): Promise<void> {
    if (this.#isClosed) return;
    const { name, home, logs, args, env } = this.#options;
    const log = join(logs, `${name}-${String(++this.#starts).padStart(3, "0")}.log`);
    await using output = await open(log, "a");
    const [file, ...leading] = LICTOR;
    const child = spawn(file, [...leading, "worker", "start", "--name", name, ...args], {
      cwd: home,
      env: cleanEnvironment({
        HOME: home,
        PREFECT_HOME: join(home, ".prefect"),
        TMPDIR: join(home, "tmp"),
        ...env,
      }),
      stdio: ["ignore", output.fd, output.fd],
    });
    const exited = once(child, "exit");
    await once(child, "spawn");
    const worker: SlotWorker = { child, pid: child.pid as number, log, exited, isToEnd: false };
    this.#current = worker;
    this.#options.onEvent(`${name} started (pid ${worker.pid}, ${basename(log)})`);
    // A test that breaks off must not leave the worker behind.
    const endAtExit = (): void => signalProcess(worker.pid, "SIGKILL");
    process.once("exit", endAtExit);
    void exited.then(() => {
      process.off("exit", endAtExit);
      this.#options.onEvent(`${name} ended (pid ${worker.pid}, ${child.signalCode ?? child.exitCode})`);
      if (!worker.isToEnd) void this.#startUnlessToEnd(worker);
    });
  }

  /** A worker that ends by itself is a problem, and is started again. */
  async #startUnlessToEnd({ child, log, pid }: SlotWorker): Promise<void> {
    const end = child.signalCode ?? `exit code ${child.exitCode}`;
    const lastLines = (await readFile(log, "utf8")).trim().split("\n").slice(-3).join("\n    ");
    this.#options.onProblem(`Worker ${this.name} (pid ${pid}) ended by itself: ${end}\n    ${lastLines}`);
    await this.#inTurn(async () => {
      if (this.#current?.pid === pid) await this.#startAfter(restartMs);
    });
  }

  async #startAfter(pauseMs: number): Promise<void> {
    this.#current = null;
    await delay(pauseMs);
    await this.#start();
  }

  async #waitUntilStarted(): Promise<void> {
    const log = this.#current?.log;
    if (log === undefined) return;
    const isStarted = async (): Promise<boolean> => /Worker '.*' started!/.test(await readFile(log, "utf8"));
    await waitFor(isStarted, { timeoutMs: startMs, what: `${this.name} to start` }).catch((error: Error) => {
      this.#options.onProblem(error.message);
    });
  }

  /** Ends the current worker. Returns false if it got SIGKILL because `limitMs` was over. */
  async #end(signal: "SIGTERM" | "SIGKILL", limitMs: number): Promise<boolean> {
    const worker = this.#current;
    if (!worker) return true;
    worker.isToEnd = true;
    this.#signal(worker.pid, signal);
    if (await isOverWithin(worker.exited, limitMs)) return true;
    this.#signal(worker.pid, "SIGKILL");
    await worker.exited;
    return false;
  }

  async #drain(worker: SlotWorker): Promise<void> {
    worker.isToEnd = true;
    this.#draining.add(worker);
    this.#signal(worker.pid, "SIGTERM");
    if (!(await isOverWithin(worker.exited, drainMs))) {
      this.#options.onProblem(`Worker ${this.name} (pid ${worker.pid}) did not drain within ${drainMs / 1000} s.`);
      this.#signal(worker.pid, "SIGKILL");
      await worker.exited;
    }
    this.#draining.delete(worker);
  }
}

async function isOverWithin(end: Promise<unknown>, limitMs: number): Promise<boolean> {
  const limit = new AbortController();
  const late = delay(limitMs, false, { signal: limit.signal }).catch(() => false);
  const isOver = await Promise.race([end.then(() => true), late]);
  limit.abort();
  return isOver;
}
