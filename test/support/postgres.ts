// A PostgreSQL server of the machine's own installation, with an empty database, on a free loopback port.
import { spawn } from "node:child_process";
import { access, chown, readdir } from "node:fs/promises";
import { join } from "node:path";
import { findFreePort } from "./free-port.ts";
import { endChild, signalProcess } from "./processes.ts";
import { collectOutput } from "./program-output.ts";
import { runCommand } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";
import { waitFor } from "./wait-for.ts";

/** A running server. Disposing stops it and removes its data. */
export interface Postgres extends AsyncDisposable {
  /** The value of PREFECT_API_DATABASE_CONNECTION_URL. */
  connectionUrl: string;
}

/** What it takes to start one: the folder of its programs, and whose processes they are to be. */
export interface PostgresInstallation {
  bin: string;
  /** Undefined for the user of the tests. PostgreSQL refuses to run as root. */
  owner: { uid: number; gid: number } | undefined;
}

const STOP_GRACE_MS = 10_000;
const DEBIAN = "/usr/lib/postgresql";

/** Finds the newest installation, or returns why there is none to use. */
export async function findPostgres(): Promise<PostgresInstallation | string> {
  const releases = (await readdir(DEBIAN).catch(() => [])).sort((one, other) => Number(other) - Number(one));
  const folders = [...releases.map((release) => join(DEBIAN, release, "bin")), "/usr/local/bin", "/usr/bin"];
  for (const bin of folders) {
    const isThere = await access(join(bin, "initdb")).then(
      () => true,
      () => false,
    );
    if (!isThere) continue;
    if (process.getuid?.() !== 0) return { bin, owner: undefined };
    const [uid, gid] = await Promise.all(["-u", "-g"].map((flag) => runCommand("id", [flag, "postgres"])));
    if (uid?.code !== 0 || gid?.code !== 0) return "there is no user 'postgres', and PostgreSQL refuses to run as root";
    return { bin, owner: { uid: Number(uid.stdout), gid: Number(gid.stdout) } };
  }
  return "PostgreSQL is not installed";
}

/** Starts a server and waits until it answers. Throws with the end of its log if it does not. */
export async function startPostgres({ bin, owner }: PostgresInstallation): Promise<Postgres> {
  const directory = await makeTemporaryDirectory("lictor-postgres-");
  if (owner) await chown(directory.path, owner.uid, owner.gid);
  const [data, port] = [join(directory.path, "data"), await findFreePort()];
  const run = (program: string, args: string[]) =>
    spawn(join(bin, program), args, { ...owner, cwd: directory.path, stdio: ["ignore", "pipe", "pipe"] });

  const initialization = run("initdb", ["-D", data, "-U", "prefect", "-A", "trust", "-N", "-E", "UTF8"]);
  const initialized = collectOutput(initialization);
  const code = await new Promise((resolve) => initialization.once("close", resolve));
  if (code !== 0) {
    await directory[Symbol.asyncDispose]();
    throw new Error(`initdb: exit ${code}\n${initialized.stderr}`);
  }
  const settings = ["listen_addresses=127.0.0.1", `unix_socket_directories=${directory.path}`, "fsync=off"];
  const server = run("postgres", ["-D", data, "-p", `${port}`, ...settings.flatMap((setting) => ["-c", setting])]);
  const output = collectOutput(server);
  const endAtExit = () => signalProcess(server.pid ?? 0, "SIGQUIT");
  process.once("exit", endAtExit);
  const dispose = async () => {
    await endChild(server, server.pid ?? 0, STOP_GRACE_MS);
    process.off("exit", endAtExit);
    await directory[Symbol.asyncDispose]();
  };
  try {
    const isReady = async () =>
      (await runCommand(join(bin, "pg_isready"), ["-h", "127.0.0.1", "-p", `${port}`])).code === 0;
    await waitFor(isReady, { timeoutMs: 60_000, what: "PostgreSQL", intervalMs: 200 });
  } catch (error) {
    await dispose();
    throw new Error(`PostgreSQL did not start:\n${output.stderr.split("\n").slice(-20).join("\n")}`, { cause: error });
  }
  const connectionUrl = `postgresql+asyncpg://prefect@127.0.0.1:${port}/postgres`;
  return { connectionUrl, [Symbol.asyncDispose]: dispose };
}
