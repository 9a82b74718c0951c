// What a program under test inherits: nothing of the caller that could change how it behaves.

// What programs need to be found and to start at all; no PREFECT_*, PYTHON* or proxy setting gets through.
const KEPT = ["PATH", "LANG", "SystemRoot"];

/** A minimal environment plus `extra`. */
export function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  // Prefect then sends no usage statistics, so a test never talks to the outside.
  const environment: Record<string, string> = { DO_NOT_TRACK: "1" };
  for (const name of KEPT) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return { ...environment, ...extra };
}
