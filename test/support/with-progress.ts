// Tells somebody at a terminal that a long step is still going on.

// Long enough that a fast machine shows one line per step, short enough that nobody believes in a hang.
const INTERVAL_MS = 5_000;

/** Awaits `work`; logs `what` at once and again with the elapsed seconds every 5 s. */
export async function withProgress<T>(log: (line: string) => void, what: string, work: Promise<T>): Promise<T> {
  const startedAtMs = Date.now();
  log(`${what} ...`);
  const timer = setInterval(() => {
    log(`${what} ... ${Math.round((Date.now() - startedAtMs) / 1000)} s`);
  }, INTERVAL_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}
