// Which Python runs the flows: found and checked once, while the worker connects.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** A Python that has Prefect installed. */
export interface PythonEngine {
  /** The path, or the name on PATH, that was checked. */
  python: string;
  prefectVersion: string;
}

/** Either an engine, or one line that says what was tried and what to do. */
export type PythonFinding = { kind: "found"; engine: PythonEngine } | { kind: "missing"; message: string };

/** Reading the metadata takes 50 ms where importing prefect takes 2 s. */
const question = "import importlib.metadata as m; print(m.version('prefect'))";
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
  for (const python of explicit ? [explicit.python] : candidates(env)) {
    const answer = await askVersion(python, env, signal);
    if (answer.kind === "version") return { kind: "found", engine: { python, prefectVersion: answer.version } };
    tried.push(`${python} ${answer.problem}`);
  }
  const asked = explicit ? ` (given by ${explicit.origin})` : "";
  return {
    kind: "missing",
    message: `No Python with Prefect${asked}: ${tried.join("; ")}. Install Prefect there (pip install prefect), or name another Python by --python PATH or LICTOR_PYTHON.`,
  };
}

function candidates(env: Readonly<Record<string, string | undefined>>): string[] {
  const onPath = ["python3", "python"];
  return env.VIRTUAL_ENV ? [join(env.VIRTUAL_ENV, "bin", "python"), ...onPath] : onPath;
}

type Reply = { kind: "version"; version: string } | { kind: "none"; problem: string };

async function askVersion(
  python: string,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal | undefined,
): Promise<Reply> {
  try {
    const { stdout } = await promisify(execFile)(python, ["-c", question], { env, timeout: answerTimeoutMs, signal });
    const version = stdout.trim();
    return /^\d+\.\d+/.test(version) ? { kind: "version", version } : { kind: "none", problem: "is not a Python" };
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") return { kind: "none", problem: "not found" };
    if (code === "EACCES") return { kind: "none", problem: "may not be executed" };
    if (stderr?.includes("PackageNotFoundError")) return { kind: "none", problem: "has no Prefect" };
    return { kind: "none", problem: `did not answer (${String(code)})` };
  }
}
