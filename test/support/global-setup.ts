// Once per test run: the Python environment, the built program, and the one real server that the tests share.
import { access } from "node:fs/promises";
import type { TestProject } from "vitest/node";
import { inCheckout } from "./checkout.ts";
import { MissingPythonError } from "./find-python.ts";
import { findPostgres } from "./postgres.ts";
import { prefectApi } from "./prefect-api.ts";
import { type PrefectServer, startPrefectServer, startServerOnPostgres } from "./prefect-server.ts";
import { ensurePythonEnvironment } from "./python-environment.ts";
import { runCommand } from "./run-command.ts";
import { withProgress } from "./with-progress.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The API URL of the shared server; tests keep apart by the names of their work pools. */
    apiUrl: string;
    /** The Python of the test environment, with Prefect installed. */
    python: string;
    /** The release of the shared server and of that Python's Prefect. */
    prefectVersion: string;
  }
}

/** Gives vitest the teardown that stops the server. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const { python } = await ensurePythonEnvironment(console.log).catch((error: unknown) => {
    if (!(error instanceof MissingPythonError)) throw error;
    // One line instead of vitest's stack trace: there is nothing to look for in the code.
    console.error(error.message);
    return process.exit(1);
  });
  await buildIfMissing();
  const running = process.env.LICTOR_TEST_API_URL;
  const server = running
    ? { apiUrl: running, [Symbol.asyncDispose]: async () => {} }
    : await withProgress(console.log, "Starting a Prefect server", startSharedServer());
  project.provide("apiUrl", server.apiUrl);
  project.provide("prefectVersion", await prefectApi(server.apiUrl).request<string>("GET", "/admin/version"));
  project.provide("python", python);
  return async () => await server[Symbol.asyncDispose]();
}

/**
 * On PostgreSQL where that is installed, unless LICTOR_TEST_DATABASE is `sqlite`. SQLite is locked for a minute at times, for all
 * tests.
 */
async function startSharedServer(): Promise<PrefectServer> {
  const installation = process.env.LICTOR_TEST_DATABASE === "sqlite" ? "not asked for" : await findPostgres();
  return typeof installation === "string" ? await startPrefectServer() : await startServerOnPostgres(installation);
}

async function buildIfMissing(): Promise<void> {
  const isBuilt = await access(inCheckout("dist/lictor.cjs")).then(
    () => true,
    () => false,
  );
  if (isBuilt) return;
  const { code, stderr } = await runCommand("npm", ["run", "build"], { cwd: inCheckout(".") });
  if (code !== 0) throw new Error(`npm run build: exit ${code}\n${stderr}`);
}
