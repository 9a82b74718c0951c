// The interface of a check, and its inputs.
import type { ApiClient } from "../api/client.ts";
import type { Credentials } from "../api/credentials.ts";
import type { WorkPool } from "../api/wire.ts";
import type { PythonFinding } from "../program/find-python.ts";
import type { Connection } from "../settings/connection.ts";
import type { Settings } from "../settings/settings.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import type { Finding } from "./finding.ts";

/** Access to the API, with a client that never retries. */
export interface ApiAccess {
  api: ApiClient;
  /** The client for routes above workspaces. Null for a self-hosted server. */
  cloud: ApiClient | null;
  connection: Connection;
  credentials: Credentials;
  socketAddress: SocketAddress;
}

/** The inputs of all checks. */
export interface Examination {
  settings: Settings;
  env: Readonly<Record<string, string | undefined>>;
  /** The work pool to check, or null. */
  pool: string | null;
  /** The work pool as the server has it; null if none is given or it cannot be read. Never rejects. */
  workPool: Promise<WorkPool | null>;
  /** The supported types of work pools. */
  poolTypes: readonly string[];
  /** Rejects if the settings give no access to the API: no URL, a key without a workspace, and so on. */
  access: Promise<ApiAccess>;
  python: Promise<PythonFinding>;
  /** How long each socket is held open. 0 means not at all. */
  holdMs: number;
  /** Aborts at the time limit. */
  signal: AbortSignal;
  /** Aborts `holdMs` later than `signal`. For checks that hold a socket open. */
  holdSignal: AbortSignal;
}

/** One check. */
export interface Check {
  name: string;
  /** The check that must succeed before this one makes sense. */
  needs?: string;
  /** The check has `holdMs` more time than the others. */
  holds?: true;
  /** The finding if the check does not end within the time limit. The default is a failure. */
  lateFinding?: Finding;
  /** Returns the findings. An error that it throws becomes a failure. */
  run(examination: Examination): Finding[] | Promise<Finding[]>;
}
