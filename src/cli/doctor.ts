// The command `lictor doctor`, which finds out why lictor cannot reach or use the Prefect API.
import { setMaxListeners } from "node:events";
import { type Command, InvalidArgumentError } from "commander";
import type { ApiAccess } from "../doctor/check.ts";
import type { Finding } from "../doctor/finding.ts";
import { poolTypeNames } from "../infrastructure/pool-types.ts";
import { findPython } from "../program/find-python.ts";
import { openApi, openClient, toSocketAddress } from "./open-api.ts";
import { type ProgramContext, withProgram } from "./program-context.ts";
import { explicitPython } from "./worker-options.ts";

interface DoctorOptions {
  pool?: string;
  python?: string;
  workspace?: string;
  timeout: number;
  sockets: number;
  json: boolean;
  profile?: string;
}

/** With this limit, a slow machine still ends within 5 s. */
const defaultTimeoutSeconds = 4;

const helpAfterOptions = `
Exit code: 0 when nothing fails (warnings are no failure), else 1.

Examples:
  $ lictor doctor --pool my-pool
  $ lictor doctor --sockets 90      # do proxies on the way end idle connections?
  $ lictor doctor --json | jq '.[] | select(.status == "fail")'
`;

/** Adds the command `doctor`. */
export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("Look for what keeps lictor from working: settings, network, credentials, sockets, Python.")
    .helpGroup("Look:")
    .option("-p, --pool <pool>", "The work pool to look at too.")
    .option("--python <path>", "The Python that is to run the flows. [from LICTOR_PYTHON, else as `worker start`]")
    .option("--workspace <account/workspace>", "The workspace of Prefect Cloud, instead of PREFECT_API_URL.")
    .option("--timeout <seconds>", "Seconds for everything together.", toSeconds, defaultTimeoutSeconds)
    .option("--sockets <seconds>", "Hold each WebSocket open so long, on top of --timeout.", toSeconds, 0)
    .option("--json", "Print a JSON array of {name, status, message, advice}.", false)
    .option("--profile <name>", "Select a profile for this run.")
    .addHelpText("after", helpAfterOptions)
    .action(async (_own: unknown, command: Command) => {
      const options = command.optsWithGlobals<DoctorOptions>();
      const report = new Report(options.json);
      await withProgram({ ...options, quiet: true }, (program) => examineAll(options, program, report)).catch(
        (error: unknown) => report.add(settingsFailure(error)),
      );
      report.end();
    });
}

function toSeconds(text: string): number {
  const seconds = Number(text);
  // A timer of Node.js accepts no longer time.
  if (seconds > 0 && seconds < 2 ** 31 / 1000) return seconds;
  throw new InvalidArgumentError("Expected a number of seconds above 0.");
}

async function examineAll(options: DoctorOptions, program: ProgramContext, report: Report): Promise<void> {
  // performance.now() counts from the start of the program.
  const remainingMs = Math.max(0, Math.ceil(options.timeout * 1000 - performance.now()));
  const holdMs = options.sockets * 1000;
  const signal = AbortSignal.timeout(remainingMs);
  const holdSignal = AbortSignal.timeout(remainingMs + holdMs);
  setMaxListeners(0, signal, holdSignal);
  const { env, settings, logging } = program;
  const { examine } = await import("../doctor/examine.ts");
  const access = openAccess(options, program, signal);
  const python = findPython({ explicit: explicitPython(options, env), env });
  const pool = options.pool ?? null;
  const examination = { settings, env, pool, poolTypes: poolTypeNames, access, python, holdMs, signal, holdSignal };
  for await (const finding of examine(examination)) {
    const { message, advice } = finding;
    report.add({ ...finding, message: logging.redact(message), advice: advice && logging.redact(advice) });
  }
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
