// Starts engines by forking a Python that has imported Prefect's engine. There is one such fork server for each Python
// and environment. A flow run that cannot be started like this gets a new Python.
import { createHash } from "node:crypto";
import { monotonicMs } from "../../async/clock.ts";
import { sleep } from "../../async/sleep.ts";
import type { Logger } from "../../logger.ts";
import { hasRawVariables } from "../../process/raw-environment.ts";
import type { ChildOutput } from "../../process/start-process.ts";
import { type ForkedProcess, ForkServer, type ForkServerOptions } from "../../program/fork-server.ts";
import { hasSettingsFiles } from "../../program/settings-files.ts";
import type { WarmEngineOptions } from "../pool-type.ts";

/** An engine to start. `env` and `cwd` are what a new Python would get. */
export interface EngineStart {
  readonly python: string;
  readonly flowRunId: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly output: ChildOutput;
}

/** Each holds some 70 MB, most of which its processes share. */
const mostServers = 4;
/** A server that had no flow run for this long gives way to one for another environment. */
const replaceableAfterMs = 60_000;
/** An environment whose server failed gets no other one for this time. */
const retryFailedMs = 300_000;
/** The import of the engine takes 2 s on a free machine. A new Python would need as long. */
const readyTimeoutMs = 20_000;

interface Entry {
  readonly server: ForkServer;
  usedAt: number;
}

/** The fork servers of one program. Disposing ends them; flow runs go on. */
export class WarmEngines implements Disposable {
  readonly #entries = new Map<string, Entry>();
  readonly #failedAt = new Map<string, number>();
  /** Modules that started a thread. No later server imports them. */
  readonly #refused = new Set<string>();
  readonly #over = new AbortController();
  /** The server that forked the newest engine. Null if a flow run has been expected since. */
  #usual: ForkServer | null = null;

  constructor(
    readonly options: WarmEngineOptions,
    private readonly log: Logger,
  ) {}

  /** Starts the fork server for flow runs with this environment, if there is none and there is room. */
  prepare(start: Pick<EngineStart, "python" | "env" | "output">): void {
    this.#serverFor(start);
  }

  /** Prepares a fork for a flow run that is about to start. It is taken to be like the one before it. */
  expect(): void {
    this.#usual?.expect();
    this.#usual = null;
  }

  /**
   * Returns a forked engine, which waits for `go`. Returns null if the flow run needs a new Python: because of its
   * directory or variables, or because forking is not possible now. Never rejects.
   */
  async start(start: EngineStart): Promise<ForkedProcess | null> {
    const { flowRunId, cwd, env, output } = start;
    if (this.#over.signal.aborted || !(await this.#isForkable(start))) return null;
    // A server that was replaced on disk ends with the first request. The second gets a new one.
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      const entry = this.#serverFor(start);
      if (entry === null || !(await this.#isReady(entry))) return null;
      entry.usedAt = monotonicMs();
      const forked = await entry.server.fork({ flowRunId, cwd, env, output: toPaths(output) });
      if (typeof forked !== "string") {
        this.#usual = entry.server;
        return forked;
      }
      this.log.debug({ flow_run_id: flowRunId }, `The fork server did not start the engine: ${forked}`);
      if (forked !== "changed" && !entry.server.isOver) return null;
      entry.server[Symbol.dispose]();
    }
    return null;
  }

  [Symbol.dispose](): void {
    this.#over.abort();
    for (const { server } of this.#entries.values()) server[Symbol.dispose]();
  }

  /** Settings files are read during the import, and raw variables cannot be sent as JSON. */
  async #isForkable({ cwd, env }: EngineStart): Promise<boolean> {
    return !(await hasRawVariables(env)) && !(await hasSettingsFiles(cwd));
  }

  #serverFor({ python, env, output }: Pick<EngineStart, "python" | "env" | "output">): Entry | null {
    const inheritsOutput = output === "inherit";
    const lasting = withoutRunVariables(env);
    const key = keyOf({ python, inheritsOutput, lasting });
    const known = this.#entries.get(key);
    if (known && !known.server.isOver) return known;
    if (monotonicMs() - (this.#failedAt.get(key) ?? Number.NEGATIVE_INFINITY) < retryFailedMs) return null;
    if (this.#entries.size >= mostServers && !this.#endIdle()) return null;
    return this.#open(key, { python, env: lasting, inheritsOutput });
  }

  #open(key: string, options: Pick<ForkServerOptions, "python" | "env" | "inheritsOutput">): Entry {
    const { idleSeconds, preload } = this.options;
    const wanted = preload.filter((name) => !this.#refused.has(name));
    const server = new ForkServer({ ...options, idleSeconds, preload: wanted });
    const entry = { server, usedAt: monotonicMs() };
    this.#entries.set(key, entry);
    void server.over.then(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    void server.ready.then((readiness) => {
      if (readiness.kind === "failed") {
        if (!this.#over.signal.aborted) this.log.debug(`A fork server ${readiness.why}`);
        this.#failedAt.set(key, monotonicMs());
        return;
      }
      for (const { module, why } of readiness.refused) this.#refuse(module, why);
      if (readiness.kind === "ready") return;
      server[Symbol.dispose]();
      this.#entries.delete(key);
      // Without a refused module it was the engine itself, or a .pth file.
      if (readiness.refused.length === 0) this.#failedAt.set(key, monotonicMs());
      else if (!this.#over.signal.aborted) this.#open(key, options);
    });
    return entry;
  }

  #refuse(module: string, why: string): void {
    if (this.#refused.has(module)) return;
    this.#refused.add(module);
    this.log.warn(`LICTOR_PRELOAD: the module '${module}' ${why}. Flow runs import it themselves.`);
  }

  async #isReady({ server }: Entry): Promise<boolean> {
    const timeout = sleep(readyTimeoutMs, this.#over.signal).then(() => null);
    const readiness = await Promise.race([server.ready, timeout]);
    return readiness?.kind === "ready";
  }

  /** Ends the server that was idle for longest. Returns false if each was used just now. */
  #endIdle(): boolean {
    const now = monotonicMs();
    const idle = [...this.#entries]
      .filter(([, { server, usedAt }]) => server.processes === 0 && now - usedAt > replaceableAfterMs)
      .sort(([, one], [, other]) => one.usedAt - other.usedAt)[0];
    if (idle === undefined) return false;
    const [key, { server }] = idle;
    this.#entries.delete(key);
    server[Symbol.dispose]();
    return true;
  }
}

/** The engine reads these variables when it runs, not when it is imported. Source: prefect engine.py, client/base.py. */
function withoutRunVariables(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("PREFECT__")));
}

/** A digest, because variables may hold secrets. */
function keyOf({ lasting, ...others }: { python: string; inheritsOutput: boolean; lasting: object }): string {
  const variables = Object.entries(lasting).sort(([one], [other]) => (one < other ? -1 : 1));
  return createHash("sha256")
    .update(JSON.stringify([others, variables]))
    .digest("hex");
}

function toPaths(output: ChildOutput): readonly [string, string] | null {
  if (output === "inherit") return null;
  return output === "ignore" ? ["/dev/null", "/dev/null"] : output.paths;
}
