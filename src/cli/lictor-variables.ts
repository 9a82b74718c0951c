// Reads the environment variables of lictor itself. Each function throws WorkerStartError for a value that cannot be used.
import type { WarmEngineOptions } from "../infrastructure/pool-type.ts";
import { pythonBoolean } from "../python-boolean.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** 11 days: far below the longest timer of Node.js, and within the range of dates. */
export const mostSeconds = 1_000_000;

/** How engines are started. `auto` is `warm` on Linux and `cold` elsewhere. */
export const engineModes = ["auto", "warm", "cold"] as const;
export type EngineMode = (typeof engineModes)[number];

/** Longer than three of the heartbeats that engines send every 180 s. */
const defaultLostAfterSeconds = 600;
const defaultEngineIdleSeconds = 300;

/** Returns LICTOR_LOST_AFTER_SECONDS. */
export function lostAfterSeconds(env: Environment): number {
  return readSeconds(env, "LICTOR_LOST_AFTER_SECONDS", { least: 0, default: defaultLostAfterSeconds });
}

/** Returns LICTOR_KEEP_ORPHANS. */
export function keepsOrphans(env: Environment): boolean {
  return readBoolean(env, "LICTOR_KEEP_ORPHANS");
}

/**
 * Returns how engines are forked; null if each gets a new Python. `option` is that of the command line, which wins over
 * LICTOR_ENGINE.
 */
export function warmEngines(option: EngineMode | undefined, env: Environment): WarmEngineOptions | null {
  const mode = option ?? readMode(env);
  const isLinux = process.platform === "linux";
  if (mode === "warm" && !isLinux) {
    throw new WorkerStartError("Warm engines need Linux. Use --engine auto or --engine cold.");
  }
  const options = {
    idleSeconds: readSeconds(env, "LICTOR_ENGINE_IDLE_SECONDS", { least: 1, default: defaultEngineIdleSeconds }),
    preload: readModules(env, "LICTOR_PRELOAD"),
    isLazy: readBoolean(env, "LICTOR_ENGINE_LAZY"),
  };
  return mode === "cold" || !isLinux ? null : options;
}

function readMode(env: Environment): EngineMode {
  const text = env.LICTOR_ENGINE?.trim() ?? "";
  const mode = engineModes.find((name) => name === (text || "auto"));
  if (mode === undefined) {
    throw new WorkerStartError(`LICTOR_ENGINE is '${text}'. Set it to one of ${engineModes.join(", ")}, or remove it.`);
  }
  return mode;
}

/** Returns the names of Python modules in a variable, which are separated by commas. */
function readModules(env: Environment, name: string): string[] {
  const modules = (env[name] ?? "").split(",").map((module) => module.trim());
  const wrong = modules.find((module) => !/^([\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*)?$/u.test(module));
  if (wrong !== undefined) {
    throw new WorkerStartError(
      `${name} has '${wrong}', which is no module name. Write it like ${name}=pandas,sklearn.`,
    );
  }
  return modules.filter((module) => module !== "");
}

/** Returns a variable; false if it is not set or empty. */
function readBoolean(env: Environment, name: string): boolean {
  const text = env[name];
  const value = text ? pythonBoolean(text.trim()) : false;
  if (value === undefined) throw new WorkerStartError(`${name} is '${text}'. Set it to true or false, or remove it.`);
  return value;
}

function readSeconds(env: Environment, name: string, { least, ...limits }: { least: number; default: number }): number {
  const text = env[name]?.trim() ?? "";
  if (text === "") return limits.default;
  const seconds = Number(text);
  if (/^\d+$/.test(text) && seconds >= least && seconds <= mostSeconds) return seconds;
  const off = least === 0 ? "; 0 switches it off" : "";
  throw new WorkerStartError(
    `${name} is '${text}'. It must be a whole number of seconds from ${least} to ${mostSeconds}${off}.`,
  );
}
