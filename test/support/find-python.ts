// Which Python of the machine carries the test environment.
import { runCommand } from "./run-command.ts";

/** A usable interpreter and its version, such as 3.12.1. */
export interface FoundPython {
  executable: string;
  version: string;
}

/** No usable Python; the message is one line that says what is needed. */
export class MissingPythonError extends Error {
  override name = "MissingPythonError";
}

// The versions that requirements.lock is written for.
const SUPPORTED_MINORS = ["3.11", "3.12", "3.13"];

const CANDIDATES = ["python3", "python", "python3.13", "python3.12", "python3.11"];

// Prints version, interpreter path and whether a venv made by it would have pip.
const PROBE = `
import importlib.util, platform, sys
print(platform.python_version(), sys.executable, importlib.util.find_spec("ensurepip") is not None, sep="\\n")
`;

/**
 * The first Python 3.11 to 3.13 among LICTOR_TEST_PYTHON or, without it, the usual names on PATH.
 * Throws MissingPythonError.
 */
export async function findPython(env: NodeJS.ProcessEnv): Promise<FoundPython> {
  const refused: string[] = [];
  for (const command of env.LICTOR_TEST_PYTHON ? [env.LICTOR_TEST_PYTHON] : CANDIDATES) {
    const probe = await runCommand(command, ["-c", PROBE], { env }).catch(() => undefined);
    const [version, executable, hasPip] = probe?.code === 0 ? probe.stdout.trim().split("\n") : [];
    if (!version || !executable) {
      refused.push(`${command}: cannot be run`);
    } else if (!SUPPORTED_MINORS.some((minor) => version.startsWith(`${minor}.`))) {
      refused.push(`${command}: is ${version}`);
    } else if (hasPip !== "True") {
      // Debian ships the module in a package of its own.
      refused.push(`${command}: is ${version} without ensurepip (Debian and Ubuntu: install python3-venv)`);
    } else {
      return { executable, version };
    }
  }
  throw new MissingPythonError(
    `Python 3.11, 3.12 or 3.13 is needed for a real Prefect server; install one or set LICTOR_TEST_PYTHON (${refused.join("; ")}).`,
  );
}
