// A real Prefect server on a free loopback port.
import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { copyFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cleanEnvironment } from "./clean-environment.ts";
import { findFreePort } from "./free-port.ts";
import { type PostgresInstallation, startPostgres } from "./postgres.ts";
import { endChild, signalProcess } from "./processes.ts";
import { collectOutput, type ProgramOutput } from "./program-output.ts";
import { ensurePythonEnvironment } from "./python-environment.ts";
import { runCommand } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";
import { waitFor } from "./wait-for.ts";

/** `authString` is `user:password`; a `home` of the caller's keeps its database and is not removed. */
export interface ServerOptions {
  authString?: string;
  /** The URL of an empty database. Without it the database is a file of SQLite. */
  connectionUrl?: string | undefined;
  port?: number;
  home?: string;
  env?: Record<string, string>;
}

/** A server that answers. Disposing stops it and removes its database. */
export interface PrefectServer extends AsyncDisposable {
  apiUrl: string;
  port: number;
  home: string;
  pid: number;
  stop(): Promise<void>;
}

// An empty database is migrated in some 12 s of CPU time, on a slow machine in half a minute.
const START_TIMEOUT_MS = 180_000;
const STOP_GRACE_MS = 5_000;

// What `prefect server start` starts, without that command's own look at the port: in 3.0 it finds the port of a server that
// was just stopped in use for another minute.
const SERVER =
  "-m uvicorn --factory prefect.server.api.server:create_app --host 127.0.0.1 --timeout-keep-alive 5".split(" ");

/** Starts a server and waits until it is healthy. Throws with the tail of its log if it does not come up. */
export async function startPrefectServer(options: ServerOptions = {}): Promise<PrefectServer> {
  const environment = await ensurePythonEnvironment(console.error);
  const emptyDatabase = join(dirname(environment.bin), "empty-server.db");
  const temporary = options.home === undefined ? await makeTemporaryDirectory("lictor-server-") : undefined;
  const home = options.home ?? temporary?.path ?? "";
  const { connectionUrl } = options;
  const isSetUp = connectionUrl === undefined && (await provideDatabase(emptyDatabase, join(home, "prefect.db")));
  const port = options.port ?? (await findFreePort());

  const child = spawn(environment.python, [...SERVER, "--port", `${port}`], {
    env: cleanEnvironment({
      HOME: home,
      PREFECT_HOME: home,
      PREFECT_SERVER_ANALYTICS_ENABLED: "false",
      PREFECT_SERVER_UI_ENABLED: "false",
      // Events can be read as soon as they have arrived, instead of after 5 s.
      PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: "0.1",
      // As that command does: no other server will be made in this process.
      PREFECT__SERVER_FINAL: "1",
      ...(isSetUp
        ? { PREFECT_SERVER_DATABASE_MIGRATE_ON_START: "false", PREFECT_SERVER_REGISTER_BLOCKS_ON_START: "false" }
        : {}),
      ...(connectionUrl === undefined ? {} : { PREFECT_API_DATABASE_CONNECTION_URL: connectionUrl }),
      ...(options.authString === undefined ? {} : { PREFECT_SERVER_API_AUTH_STRING: options.authString }),
      ...options.env,
    }),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const output = collectOutput(child);
  const group = -(child.pid ?? 0);
  // A test run that breaks off must not leave the server behind.
  const endAtExit = () => signalProcess(group, "SIGKILL");
  process.once("exit", endAtExit);
  const stop = async () => {
    await endChild(child, group, STOP_GRACE_MS);
    process.off("exit", endAtExit);
  };
  const dispose = async () => {
    await stop();
    await temporary?.[Symbol.asyncDispose]();
  };

  const apiUrl = `http://127.0.0.1:${port}/api`;
  try {
    await waitUntilHealthy(apiUrl, () => child.exitCode ?? child.signalCode, output);
    if (!isSetUp && connectionUrl === undefined && options.home === undefined)
      await saveEmptyDatabase(environment.python, join(home, "prefect.db"), emptyDatabase);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { apiUrl, port, home, pid: -group, stop, [Symbol.asyncDispose]: dispose };
}

/** Starts a server with a PostgreSQL of its own, which ends with it. Throws as `startPrefectServer` and `startPostgres` do. */
export async function startServerOnPostgres(installation: PostgresInstallation): Promise<PrefectServer> {
  const database = await startPostgres(installation);
  try {
    const server = await startPrefectServer({ connectionUrl: database.connectionUrl });
    const dispose = async () => {
      await server[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    };
    return { ...server, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await database[Symbol.asyncDispose]();
    throw error;
  }
}

async function waitUntilHealthy(apiUrl: string, end: () => unknown, output: ProgramOutput): Promise<void> {
  const healthyOrEnded = async () => {
    if (end() !== null) return "ended";
    const response = await fetch(`${apiUrl}/health`).catch(() => undefined);
    return response?.ok ? "healthy" : undefined;
  };
  const outcome = await waitFor(healthyOrEnded, { timeoutMs: START_TIMEOUT_MS, what: `${apiUrl}/health` }).catch(
    () => "silent",
  );
  if (outcome === "healthy") return;
  const tail = `${output.stdout}${output.stderr}`.trim().split("\n").slice(-40).join("\n");
  throw new Error(
    `the Prefect server at ${apiUrl} did not start (${outcome}, exit ${end()}); the end of its log:\n${tail}`,
  );
}

/** Whether there is a database already set up, an earlier server's or a copy of an empty one: a third of the time to start. */
async function provideDatabase(empty: string, database: string): Promise<boolean> {
  return await copyFile(empty, database, constants.COPYFILE_EXCL).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === "EEXIST",
  );
}

/** Keeps the database of a server that has just set it up, for the servers to come. */
async function saveEmptyDatabase(python: string, from: string, to: string): Promise<void> {
  const unfinished = `${to}.${process.pid}`;
  const copy = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM INTO ?', [sys.argv[2]])";
  const { code, stderr } = await runCommand(python, ["-c", copy, from, unfinished]);
  if (code !== 0) throw new Error(`could not save the empty database: ${stderr}`);
  await rename(unfinished, to);
}
