// Tells systemd that the program has started, what it does, that it is alive, and that it stops. Node.js has no Unix
// datagram sockets, so systemd's own program `systemd-notify` sends the messages. Loaded only under systemd.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { monotonicMs } from "../async/clock.ts";
import { Wake } from "../async/wake.ts";
import type { Logger } from "../logger.ts";
import type { SystemdRequest } from "./systemd-variables.ts";

/** How often the status is compared with the one that systemd knows. */
const statusIntervalMs = 5_000;
/** `systemd-notify` waits up to 5 s until systemd has read the message. */
const sendTimeoutMs = 10_000;

/** What to tell, and how. */
export interface SystemdNotifierOptions {
  readonly request: SystemdRequest;
  /** The PATH on which `systemd-notify` is. */
  readonly path: string | undefined;
  /** Returns one line about what the program does. */
  status(): string;
  /** Returns false if the program is stuck. Then systemd gets no more signs of life and restarts the service. */
  isAlive(): boolean;
  /** Aborts when the program begins to stop. */
  readonly stopping: AbortSignal;
  readonly log: Logger;
}

/** Sends the messages one after the other until it is disposed. A failure to send is one warning and ends nothing. */
export class SystemdNotifier implements AsyncDisposable {
  readonly #wake = new Wake();
  readonly #end = new AbortController();
  readonly #running: Promise<void>;
  #isReady = false;
  #hasWarned = false;

  constructor(private readonly options: SystemdNotifierOptions) {
    const { stopping } = options;
    stopping.addEventListener("abort", () => this.#wake.wake("event"), { signal: this.#end.signal });
    this.#running = this.#run();
  }

  /** Call when the program has started. */
  ready(): void {
    this.#isReady = true;
    this.#wake.wake("event");
  }

  /** Resolves when the last message was sent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { request, status, isAlive, stopping } = this.options;
    const beatMs = (request.watchdogMs ?? Number.POSITIVE_INFINITY) / 2;
    const intervalMs = Math.min(statusIntervalMs, beatMs);
    let isReadySent = false;
    let isStopSent = false;
    let statusSent: string | undefined;
    let beatAt = Number.NEGATIVE_INFINITY;
    while (!this.#end.signal.aborted) {
      const variables: string[] = [];
      if (this.#isReady && !isReadySent) variables.push("READY=1");
      if (stopping.aborted && !isStopSent) variables.push("STOPPING=1");
      isReadySent ||= this.#isReady;
      isStopSent ||= stopping.aborted;
      const text = status().replaceAll("\n", " ");
      if (text !== statusSent) variables.push(`STATUS=${text}`);
      statusSent = text;
      // A beat that is half an interval early is better than one that is late.
      if (request.watchdogMs !== undefined && monotonicMs() - beatAt > beatMs - intervalMs / 2 && isAlive()) {
        variables.push("WATCHDOG=1");
        beatAt = monotonicMs();
      }
      if (variables.length > 0 && !(await this.#send(variables))) return;
      await this.#wake.sleep(intervalMs, this.#end.signal);
    }
  }

  /** Returns false if there is no `systemd-notify`, so that sending is useless. */
  async #send(variables: readonly string[]): Promise<boolean> {
    const { request, path, log } = this.options;
    const env = { NOTIFY_SOCKET: request.notifySocket, ...(path !== undefined && { PATH: path }) };
    try {
      await promisify(execFile)("systemd-notify", [...variables], {
        env,
        timeout: sendTimeoutMs,
        killSignal: "SIGKILL",
      });
      return true;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isMissing = code === "ENOENT";
      const what = isMissing
        ? "systemd is not told that this worker has started, because `systemd-notify` is not on PATH. Install the package systemd, or set Type=exec in the unit."
        : `systemd could not be told ${variables[0]}: ${message.trim()}. The worker goes on.`;
      log[this.#hasWarned ? "debug" : "warn"](what);
      this.#hasWarned = true;
      return !isMissing;
    }
  }
}
