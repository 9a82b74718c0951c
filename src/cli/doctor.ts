// The command `lictor doctor`, which finds out why lictor cannot reach or use the Prefect API.
import { type Command, InvalidArgumentError } from "commander";
import type { DoctorOptions } from "./doctor-actions.ts";
import { poolName } from "./options.ts";

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
    .option("-p, --pool <pool>", "The work pool to look at too.", poolName)
    .option("--python <path>", "The Python that is to run the flows. [from LICTOR_PYTHON, else as `worker start`]")
    .option("--workspace <account/workspace>", "The workspace of Prefect Cloud, instead of PREFECT_API_URL.")
    .option("--timeout <seconds>", "Seconds for everything together.", toSeconds, defaultTimeoutSeconds)
    .option("--sockets <seconds>", "Hold each WebSocket open so long, on top of --timeout.", toSeconds, 0)
    .option("--json", "Print a JSON array of {name, status, message, advice}.", false)
    .option("--profile <name>", "Select a profile for this run.")
    .addHelpText("after", helpAfterOptions)
    .action(async (_own: unknown, command: Command) => {
      const { diagnose } = await import("./doctor-actions.ts");
      await diagnose(command.optsWithGlobals<DoctorOptions>());
    });
}

function toSeconds(text: string): number {
  const seconds = Number(text);
  // A timer of Node.js accepts no longer time.
  if (seconds > 0 && seconds < 2 ** 31 / 1000) return seconds;
  throw new InvalidArgumentError("Expected a number of seconds above 0.");
}
