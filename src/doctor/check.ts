// What a check is, and what it works with.
import type { ApiClient } from "../api/client.ts";
import type { Credentials } from "../api/credentials.ts";
import type { PythonFinding } from "../program/find-python.ts";
import type { Connection } from "../settings/connection.ts";
import type { Settings } from "../settings/settings.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import type { Finding } from "./finding.ts";

/** The way to the API. Its client repeats nothing. */
export interface ApiAccess {
  api: ApiClient;
  /** For the routes above any workspace; null on a self-hosted server. */
  cloud: ApiClient | null;
  connection: Connection;
  credentials: Credentials;
  socketAddress: SocketAddress;
}

/** What the checks look at. */
export interface Examination {
  settings: Settings;
  env: Readonly<Record<string, string | undefined>>;
  /** Null when no work pool was named. */
  pool: string | null;
  /** The types of work pool that can be served. */
  poolTypes: readonly string[];
  /** Rejects when there is no way to the API: no URL, a key that opens no workspace, and so on. */
  access: Promise<ApiAccess>;
  python: Promise<PythonFinding>;
  /** How long each socket is held open, in milliseconds; 0 for not at all. */
  holdMs: number;
  /** Aborts when the time is over. */
  signal: AbortSignal;
  /** As `signal`, but for checks that hold something open: aborts `holdMs` later. */
  holdSignal: AbortSignal;
}

/** One concern. */
export interface Check {
  name: string;
  /** The check that must not fail for this one to make sense. */
  needs?: string;
  /** It has `holdMs` more time than the others. */
  holds?: true;
  /** What it means when the time is over before the check has ended: by default a failure. */
  late?: Finding;
  run(examination: Examination): Finding[] | Promise<Finding[]>;
}
