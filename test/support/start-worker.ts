// A lictor worker that is already at work.
import { type ProgramOptions, type RunningProgram, startLictor } from "./lictor.ts";
import { ensurePythonEnvironment } from "./python-environment.ts";

/** `args` are further options of `lictor worker start`. */
export interface WorkerOptions extends ProgramOptions {
  apiUrl: string;
  name?: string;
  args?: readonly string[];
}

// A start takes some 100 ms; the rest is for a machine busy with Python engines, and servers that are locked meanwhile.
const START_TIMEOUT_MS = 60_000;

/** Starts a worker for the work pool and waits for its `Worker '…' started!`; engines run in the test environment. */
export async function startWorker(pool: string, options: WorkerOptions): Promise<RunningProgram> {
  const { apiUrl, name = "test-worker", args = [], env, ...rest } = options;
  const { python } = await ensurePythonEnvironment(console.error);
  const worker = await startLictor(["worker", "start", "--pool", pool, "--name", name, "--python", python, ...args], {
    ...rest,
    env: { PREFECT_API_URL: apiUrl, ...env },
  });
  try {
    await worker.waitForOutput(/Worker '.*' started!/, START_TIMEOUT_MS);
    return worker;
  } catch (error) {
    await worker[Symbol.asyncDispose]();
    throw error;
  }
}
