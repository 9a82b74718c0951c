// The command `lictor worker start` and its options.
import { type Command, Option } from "commander";
import { poolTypeNames } from "../infrastructure/pool-type-names.ts";
import { engineModes, mostSeconds } from "./lictor-variables.ts";
import { collect, wholeNumber } from "./options.ts";
import type { GivenOptions } from "./worker-start-actions.ts";

const helpAfterOptions = `
Stopping:
  SIGINT, SIGTERM, SIGHUP or SIGQUIT once   take no new flow runs, wait for running ones to end, exit 0
  twice          end the running flow runs (SIGTERM, after 30 s SIGKILL), report them as Crashed, exit 0;
                 exit 1 if that takes longer than 60 s
  three times    SIGKILL their processes and exit at once
  Signals within a second after one that counted are ignored. See also: lictor worker drain --help

Examples:
  $ lictor worker start --pool my-pool
  $ lictor --profile prod worker start --pool my-pool --work-queue high --limit 4
  $ PREFECT_API_URL=http://127.0.0.1:4200/api lictor worker start -p my-pool --with-healthcheck
`;

/** Adds `start` to the command group `worker`. */
export function addWorkerStart(worker: Command): void {
  const start = worker
    .command("start")
    .description("Start a worker process to poll a work pool for flow runs.")
    .option("-n, --name <name>", "The name to give to the started worker.")
    .option("-p, --pool <pool>", "The work pool the started worker should poll (repeatable).", collect)
    .option(
      "-q, --work-queue <queue>",
      "Work queue names to pull from (repeatable); pool/queue for a queue of one pool.",
      collect,
    )
    .option("-t, --type <type>", `The type of worker to start: ${poolTypeNames.join(", ")}.`)
    .option(
      "--prefetch-seconds <seconds>",
      "Seconds to look ahead for scheduled flow runs. [from PREFECT_WORKER_PREFETCH_SECONDS]",
      wholeNumber(0, mostSeconds),
    )
    .option("--run-once", "Only run worker polling once.", false)
    .option("-l, --limit <count>", "Maximum concurrent flow runs.", wholeNumber(1))
    .option(
      "--drain-timeout <seconds>",
      "End the running flow runs when a drain has lasted this long. [default: wait for ever]",
      wholeNumber(0, mostSeconds),
    )
    .addOption(
      new Option("--on-lost <action>", "What becomes of a running flow run whose process is gone.")
        .choices(["crash", "reschedule"])
        .default("crash"),
    )
    .option("--with-healthcheck", "Start a healthcheck server, with a status page at its root.", false)
    .addOption(
      new Option("--install-policy <policy>", "Accepted for compatibility: lictor never installs anything.")
        .choices(["always", "if-not-present", "never", "prompt"])
        .default("prompt"),
    )
    .option("--base-job-template <file>", "Path to JSON file containing base job template.")
    .option("--create-pool-if-not-found", "Create the work pool if it does not exist.", true)
    .option("--no-create-pool-if-not-found", "Leave a missing work pool to whoever manages it.");
  addEngineOptions(start)
    .addHelpText("after", helpAfterOptions)
    .option(
      "--workspace <account/workspace>",
      "The workspace of Prefect Cloud to work for, instead of PREFECT_API_URL.",
    )
    .option("--profile <name>", "Select a profile for this run.")
    .action(async (_own: unknown, command: Command) => {
      const given = command.optsWithGlobals<Omit<GivenOptions, "pool" | "workQueue"> & Partial<GivenOptions>>();
      const { runWorkers } = await import("./worker-start-actions.ts");
      await runWorkers({ ...given, pool: given.pool ?? [], workQueue: given.workQueue ?? [] });
    });
}

/** Adds the options that say how engines start and how log records look. Returns the command. */
function addEngineOptions(command: Command): Command {
  return command
    .option(
      "--python <path>",
      "The Python, with Prefect installed, that runs the flows. [from LICTOR_PYTHON, else $VIRTUAL_ENV, else PATH]",
    )
    .addOption(
      new Option(
        "--engine <mode>",
        "Fork engines from a Python that has imported them (warm), or start a new Python for each (cold). [from LICTOR_ENGINE, else auto: warm on Linux]",
      ).choices(engineModes),
    )
    .addOption(
      new Option("--log-format <format>", "How log records look. [text on a terminal, else json]").choices([
        "text",
        "json",
      ]),
    );
}
