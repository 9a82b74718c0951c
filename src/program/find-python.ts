// Finds the Python that runs the flows. The search runs while the worker connects, and again while no Python is found.
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { monotonicMs } from "../async/clock.ts";
import { passOnRawVariables } from "../process/raw-environment.ts";
import { findShortage } from "../process/system-errors.ts";

/** A package of Prefect's collections, such as `prefect-aws`. */
export interface Integration {
  name: string;
  version: string;
}

/** A Python that has Prefect installed. */
export interface PythonEngine {
  /** The absolute path or the name on PATH. */
  python: string;
  prefectVersion: string;
  integrations: readonly Integration[];
}

/**
 * A Python with Prefect, or one line that says what was tried and what to do. `isSlow`: a Python did not answer in time, and
 * may have Prefect.
 */
export type PythonFinding =
  | { kind: "found"; engine: PythonEngine }
  | { kind: "missing"; message: string; isSlow: boolean };

/**
 * Prints the releases of Prefect and its collections. It reads the package metadata in 50 ms; `import prefect` takes 2 s.
 * With -c, Python looks for modules in the working directory first, and a json.py there would replace Python's own.
 * Source: prefect workers/base.py _worker_metadata.
 */
const metadataScript = `
import sys
if sys.path[:1] == [""]: del sys.path[0]
import importlib.metadata as m, json
collections = {point.name for point in m.entry_points(group="prefect.collections")}
named = [(d.metadata["Name"] or "", d.version) for d in m.distributions()] if collections else []
found = {name: version for name, version in reversed(named) if name.replace("-", "_") in collections}
integrations = [{"name": name, "version": version} for name, version in sorted(found.items())]
print(json.dumps({"version": m.version("prefect"), "integrations": integrations}))
`;
const scriptTimeoutMs = 20_000;

/**
 * Returns a Python with Prefect. Tries only `explicit` if it is given, else `$VIRTUAL_ENV`, then python3 and python on
 * PATH. Never throws.
 */
export async function findPython(options: {
  explicit: { python: string; origin: string } | undefined;
  env: Readonly<Record<string, string | undefined>>;
  /** An abort ends the search. */
  signal?: AbortSignal | undefined;
  /** How long each Python may take. */
  timeoutMs?: number;
}): Promise<PythonFinding> {
  const { explicit, env, signal, timeoutMs = scriptTimeoutMs } = options;
  const tried: string[] = [];
  let isSlow = false;
  for (const given of explicit ? [explicit.python] : candidates(env)) {
    // The path has to be absolute, because flow runs start Python in other directories.
    const python = given.includes("/") ? resolve(given) : given;
    const metadata = await readMetadata(python, { env, signal, timeoutMs });
    if (metadata.kind === "engine") return { kind: "found", engine: { python, ...metadata.engine } };
    isSlow ||= metadata.kind === "slow";
    tried.push(`${python} ${metadata.problem}`);
  }
  const origin = explicit ? ` (given by ${explicit.origin})` : "";
  const advice = isSlow ? "Wait if the machine is busy" : "Install Prefect there (pip install prefect)";
  return {
    kind: "missing",
    message: `No Python with Prefect${origin}: ${tried.join("; ")}. ${advice}, or name another Python by --python PATH or LICTOR_PYTHON.`,
    isSlow,
  };
}

/** The shortest time between two searches. */
const searchIntervalMs = 60_000;

/**
 * The Python of the flow runs. While none is found, a call of `current` starts another search, at most one per minute. An
 * idle worker makes no such call, so it starts no process.
 */
export class PythonFinder {
  #last: Promise<PythonFinding> | undefined;
  #searchedAt = 0;
  #isSearching = false;
  #onFinding: (finding: PythonFinding) => void = () => {};

  /** `search` makes one search, and never throws. */
  constructor(
    private readonly search: () => Promise<PythonFinding>,
    private readonly intervalMs: number = searchIntervalMs,
  ) {}

  /** Calls `onFinding` with the first finding, and with a Python that is found later. */
  onFinding(onFinding: (finding: PythonFinding) => void): void {
    this.#onFinding = onFinding;
    void this.current().then(onFinding);
  }

  /** Returns the last finding. Waits only for the first search, because a later one may take 20 s if a Python hangs. */
  async current(): Promise<PythonFinding> {
    this.#last ??= this.#runSearch();
    const finding = await this.#last;
    const isDue = !this.#isSearching && monotonicMs() - this.#searchedAt >= this.intervalMs;
    if (finding.kind === "missing" && isDue) void this.#searchAgain();
    return finding;
  }

  async #searchAgain(): Promise<void> {
    const finding = await this.#runSearch();
    this.#last = Promise.resolve(finding);
    if (finding.kind === "found") this.#onFinding(finding);
  }

  async #runSearch(): Promise<PythonFinding> {
    this.#isSearching = true;
    try {
      return await this.search();
    } finally {
      this.#isSearching = false;
      this.#searchedAt = monotonicMs();
    }
  }
}

function candidates(env: Readonly<Record<string, string | undefined>>): string[] {
  const onPath = ["python3", "python"];
  return env.VIRTUAL_ENV ? [join(env.VIRTUAL_ENV, "bin", "python"), ...onPath] : onPath;
}

type Metadata = { kind: "engine"; engine: Omit<PythonEngine, "python"> } | { kind: "none" | "slow"; problem: string };

async function readMetadata(
  python: string,
  options: {
    env: Readonly<Record<string, string | undefined>>;
    signal: AbortSignal | undefined;
    timeoutMs: number;
  },
): Promise<Metadata> {
  const { env, signal, timeoutMs } = options;
  try {
    // A raw PYTHONPATH would be damaged otherwise. A large raw variable would be too large for the system.
    const given = { argv: [python, "-c", metadataScript], cwd: resolve(), env };
    const { argv, env: passed } = await passOnRawVariables(given);
    const [file = "", ...args] = argv;
    const { stdout } = await promisify(execFile)(file, args, {
      env: passed,
      timeout: timeoutMs,
      signal,
    });
    return parseMetadata(stdout);
  } catch (error) {
    const { code, stderr, killed } = error as { code?: unknown; stderr?: string; killed?: boolean };
    if (code === "ENOENT") return { kind: "none", problem: "not found" };
    if (code === "EACCES") return { kind: "none", problem: "may not be executed" };
    if (stderr?.includes("PackageNotFoundError")) return { kind: "none", problem: "has no Prefect" };
    if (killed) return { kind: "slow", problem: `did not answer within ${timeoutMs / 1000} s` };
    const shortage = findShortage(error);
    return {
      kind: "none",
      problem: shortage ? `could not be started (${shortage})` : `did not answer (${String(code)})`,
    };
  }
}

/** Parses the script's output. Any other output is from a program that is no Python. */
function parseMetadata(stdout: string): Metadata {
  try {
    const { version, integrations } = JSON.parse(stdout) as { version: string; integrations: Integration[] };
    if (/^\d+\.\d+/.test(version)) return { kind: "engine", engine: { prefectVersion: version, integrations } };
  } catch {
    // Not JSON, so it is not the script's output.
  }
  return { kind: "none", problem: "is not a Python" };
}
