// What `lictor doctor` does: examines everything under one deadline and prints the findings.
import { setMaxListeners } from "node:events";
import type { WorkPool } from "../api/wire.ts";
import { findWorkPool } from "../api/work-pools.ts";
import type { ApiAccess } from "../doctor/check.ts";
import { examine } from "../doctor/examine.ts";
import type { Finding } from "../doctor/finding.ts";
import { poolTypeNames } from "../infrastructure/pool-type-names.ts";
import { findPython } from "../program/find-python.ts";
import { openApi, openClient, toSocketAddress } from "./open-api.ts";
import { type ProgramContext, withProgram } from "./program-context.ts";
import { explicitPython } from "./worker-options.ts";

/** The options from the command line. */
export interface DoctorOptions {
  pool?: string;
  python?: string;
  workspace?: string;
  timeout: number;
  sockets: number;
  json: boolean;
  profile?: string;
}

/** Examines everything, prints the findings and exits the process. */
export async function diagnose(options: DoctorOptions): Promise<void> {
  const report = new Report(options.json);
  await withProgram({ ...options, quiet: true }, (program) => examineAll(options, program, report)).catch(
    (error: unknown) => report.add(settingsFailure(error)),
  );
  report.end();
}

async function examineAll(options: DoctorOptions, program: ProgramContext, report: Report): Promise<void> {
  // performance.now() counts from the start of the program.
  const remainingMs = Math.max(0, Math.ceil(options.timeout * 1000 - performance.now()));
  const holdMs = options.sockets * 1000;
  const signal = AbortSignal.timeout(remainingMs);
  const holdSignal = AbortSignal.timeout(remainingMs + holdMs);
  setMaxListeners(0, signal, holdSignal);
  const { env, settings, logging } = program;
  const access = openAccess(options, program, signal);
  const python = findPython({ explicit: explicitPython(options, env), env });
  const pool = options.pool ?? null;
  const workPool = readWorkPool(pool, access, signal);
  const poolTypes = poolTypeNames;
  const examination = { settings, env, pool, workPool, poolTypes, access, python, holdMs, signal, holdSignal };
  for await (const finding of examine(examination)) {
    const { message, advice } = finding;
    report.add({ ...finding, message: logging.redact(message), advice: advice && logging.redact(advice) });
  }
}

/** Returns null if no work pool is named, and if it cannot be read, because a check says that too. */
async function readWorkPool(
  name: string | null,
  access: Promise<ApiAccess>,
  signal: AbortSignal,
): Promise<WorkPool | null> {
  if (name === null) return null;
  return await access
    .then(({ api }) => findWorkPool(api, name, { signal }))
    .then(
      (pool) => pool ?? null,
      () => null,
    );
}

/** Opens the API with a client that never retries, because the doctor reports even a single failure. */
async function openAccess(options: DoctorOptions, program: ProgramContext, signal: AbortSignal): Promise<ApiAccess> {
  const { settings } = program;
  const values = { ...settings.values, PREFECT_CLIENT_MAX_RETRIES: 0 };
  const withoutRetries = { ...program, settings: { ...settings, values } };
  const open = await openApi(withoutRetries, options.workspace, signal);
  const { api, connection, credentials } = open;
  const apiUrl = values.PREFECT_CLOUD_API_URL;
  const cloud = connection.isCloud ? openClient(withoutRetries, { apiUrl, isCloud: true }, credentials) : null;
  return { api, cloud, connection, credentials, socketAddress: toSocketAddress(open, program) };
}

/** Returns the finding for settings that cannot be loaded. */
function settingsFailure(error: unknown): Finding {
  return {
    name: "settings",
    status: "fail",
    message: error instanceof Error ? error.message : String(error),
    advice: null,
  };
}

/** The output: one or two lines per finding at once, or all findings as JSON at the end. */
class Report {
  readonly #findings: Finding[] = [];

  constructor(private readonly isJson: boolean) {}

  add(finding: Finding): void {
    this.#findings.push(finding);
    if (this.isJson) return;
    const { name, status, message, advice } = finding;
    process.stdout.write(`${status}  ${name}: ${message}\n${advice ? `      ${advice}\n` : ""}`);
  }

  /** Prints the rest and exits the process, because a hanging DNS query or Python cannot be stopped. */
  end(): void {
    const count = (status: Finding["status"]): number =>
      this.#findings.filter((finding) => finding.status === status).length;
    const counts = (["pass", "warn", "fail", "skip"] as const).map((status) => `${count(status)} ${status}`);
    const rest = this.isJson ? JSON.stringify(this.#findings, null, 2) : `\n${counts.join(", ")}`;
    process.stdout.write(`${rest}\n`, () => process.exit(count("fail") > 0 ? 1 : 0));
  }
}
