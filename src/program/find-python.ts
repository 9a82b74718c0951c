// Which Python runs the flows: found and checked while the worker connects, and looked for again while there is none.
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { monotonicMs } from "../async/clock.ts";
import { findLack } from "../process/system-errors.ts";

/** A package of Prefect's collections, such as prefect-aws. */
export interface Integration {
  name: string;
  version: string;
}

/** A Python that has Prefect installed. */
export interface PythonEngine {
  /** The absolute path, or the name on PATH, that was checked. */
  python: string;
  prefectVersion: string;
  integrations: readonly Integration[];
}

/** Either an engine, or one line that says what was tried and what to do. */
export type PythonFinding = { kind: "found"; engine: PythonEngine } | { kind: "missing"; message: string };

/**
 * Reading the metadata takes 50 ms where importing prefect takes 2 s. With -c, Python looks for modules in the working
 * directory first: a json.py of the user's there must not be taken for Python's own.
 * Source: prefect workers/base.py _worker_metadata.
 */
const question = `
import sys
if sys.path[:1] == [""]: del sys.path[0]
import importlib.metadata as m, json
collections = {point.name for point in m.entry_points(group="prefect.collections")}
named = [(d.metadata["Name"] or "", d.version) for d in m.distributions()] if collections else []
found = {name: version for name, version in reversed(named) if name.replace("-", "_") in collections}
integrations = [{"name": name, "version": version} for name, version in sorted(found.items())]
print(json.dumps({"version": m.version("prefect"), "integrations": integrations}))
`;
const answerTimeoutMs = 20_000;

/**
 * Looks for a Python with Prefect: `explicit` alone if given, else `$VIRTUAL_ENV`, else python3 and python on PATH.
 * Never throws.
 */
export async function findPython(options: {
  explicit: { python: string; origin: string } | undefined;
  env: Readonly<Record<string, string | undefined>>;
  /** Ends the search: nobody wants the answer any more. */
  signal?: AbortSignal | undefined;
}): Promise<PythonFinding> {
  const { explicit, env, signal } = options;
  const tried: string[] = [];
  for (const given of explicit ? [explicit.python] : candidates(env)) {
    // Flow runs start it in other directories.
    const python = given.includes("/") ? resolve(given) : given;
    const answer = await askEngine(python, env, signal);
    if (answer.kind === "engine") return { kind: "found", engine: { python, ...answer.engine } };
    tried.push(`${python} ${answer.problem}`);
  }
  const asked = explicit ? ` (given by ${explicit.origin})` : "";
  return {
    kind: "missing",
    message: `No Python with Prefect${asked}: ${tried.join("; ")}. Install Prefect there (pip install prefect), or name another Python by --python PATH or LICTOR_PYTHON.`,
  };
}

/** How often a Python is looked for while there is none. */
const searchIntervalMs = 60_000;

/**
 * The Python of the flow runs, as far as it is known. While there is none, it is looked for again every minute, but only
 * if somebody asks, so that an idle worker starts nothing.
 */
export class PythonFinder {
  #last: Promise<PythonFinding> | undefined;
  #searchedAt = 0;
  #isSearching = false;
  #onFinding: (finding: PythonFinding) => void = () => {};

  /** `search` looks once, and never throws. */
  constructor(
    private readonly search: () => Promise<PythonFinding>,
    private readonly intervalMs: number = searchIntervalMs,
  ) {}

  /** Tells `onFinding` of the first finding, and of a Python that is found later. */
  tell(onFinding: (finding: PythonFinding) => void): void {
    this.#onFinding = onFinding;
    void this.current().then(onFinding);
  }

  /** The last finding. Waits for the first search, but for no later one: nobody is held up by a Python that hangs. */
  async current(): Promise<PythonFinding> {
    this.#last ??= this.#look();
    const finding = await this.#last;
    const isDue = !this.#isSearching && monotonicMs() - this.#searchedAt >= this.intervalMs;
    if (finding.kind === "missing" && isDue) void this.#lookAgain();
    return finding;
  }

  async #lookAgain(): Promise<void> {
    const finding = await this.#look();
    this.#last = Promise.resolve(finding);
    if (finding.kind === "found") this.#onFinding(finding);
  }

  async #look(): Promise<PythonFinding> {
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

type Reply = { kind: "engine"; engine: Omit<PythonEngine, "python"> } | { kind: "none"; problem: string };

async function askEngine(
  python: string,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal | undefined,
): Promise<Reply> {
  try {
    const { stdout } = await promisify(execFile)(python, ["-c", question], { env, timeout: answerTimeoutMs, signal });
    return parseReply(stdout);
  } catch (error) {
    const { code, stderr, killed } = error as { code?: unknown; stderr?: string; killed?: boolean };
    if (code === "ENOENT") return { kind: "none", problem: "not found" };
    if (code === "EACCES") return { kind: "none", problem: "may not be executed" };
    if (stderr?.includes("PackageNotFoundError")) return { kind: "none", problem: "has no Prefect" };
    if (killed) return { kind: "none", problem: `did not answer within ${answerTimeoutMs / 1000} s` };
    const lack = findLack(error);
    return { kind: "none", problem: lack ? `could not be started (${lack})` : `did not answer (${String(code)})` };
  }
}

/** Any program can be named: one that does not speak as asked is no Python. */
function parseReply(stdout: string): Reply {
  try {
    const { version, integrations } = JSON.parse(stdout) as { version: string; integrations: Integration[] };
    if (/^\d+\.\d+/.test(version)) return { kind: "engine", engine: { prefectVersion: version, integrations } };
  } catch {
    // Falls through.
  }
  return { kind: "none", problem: "is not a Python" };
}
