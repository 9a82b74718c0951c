// Programs that run until they are told to end, each with a log file.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { endChild, signalProcess } from "./processes.ts";
import { waitFor } from "./wait-for.ts";

/** The longest time until a program is ready. */
const startMs = 120_000;

/** Programs by name. Each leads a process group of its own. */
export class LoggedPrograms {
  readonly #running = new Map<string, ChildProcess>();
  readonly #endAll = () => {
    for (const { pid } of this.#running.values()) if (pid) signalProcess(-pid, "SIGKILL");
  };

  /** The logs are files in this folder. */
  constructor(private readonly folder: string) {
    process.once("exit", this.#endAll);
  }

  /** Starts a program. One of this name must have ended before. */
  start(name: string, program: string, args: readonly string[]): void {
    const log = openSync(join(this.folder, `${name}.log`), "a");
    this.#running.set(name, spawn(program, args, { stdio: ["ignore", log, log], detached: true }));
    closeSync(log);
  }

  /** Returns the process id; 0 if there is none. */
  pid(name: string): number {
    return this.#running.get(name)?.pid ?? 0;
  }

  /** Waits until it is ready. Throws with the end of its log if the program ends before. */
  async untilReady(name: string, isReady: () => Promise<boolean>): Promise<void> {
    const check = async (): Promise<boolean> => {
      const { exitCode, signalCode } = this.#running.get(name) ?? {};
      if (exitCode != null || signalCode != null) throw new Error(`${name} has ended: ${await this.logOf(name)}`);
      return await isReady();
    };
    await waitFor(check, { timeoutMs: startMs, intervalMs: 200, what: name }).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await this.logOf(name)}`);
    });
  }

  /** Returns the end of a program's log. */
  async logOf(name: string): Promise<string> {
    return (await readFile(join(this.folder, `${name}.log`), "utf8").catch(() => "")).slice(-1_000);
  }

  /** Ends a program by SIGTERM, and after the grace time by SIGKILL. */
  async end(name: string, graceMs: number): Promise<void> {
    const child = this.#running.get(name);
    if (child?.pid) await endChild(child, -child.pid, graceMs);
    this.#running.delete(name);
  }

  /** Ends all programs, the last one first. */
  async endAll(graceMs: number): Promise<void> {
    for (const name of [...this.#running.keys()].reverse()) await this.end(name, graceMs);
    process.off("exit", this.#endAll);
  }
}
