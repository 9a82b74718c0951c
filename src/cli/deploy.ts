// The commands `lictor deploy` and `lictor run`.
import { type Command, InvalidArgumentError } from "commander";
import type { JsonObject } from "../api/wire.ts";
import { parseExactJson } from "../exact-json.ts";
import { mostSeconds } from "../job/typed-fields.ts";
import type { DeploymentPlan } from "./deployment-plan.ts";
import { addCommand, collect, poolName, profileOf, wholeNumber } from "./options.ts";

const loadDeploy = () => import("./deploy-actions.ts");
const loadRun = () => import("./run-actions.ts");

interface DeployOptions {
  pool?: string;
  from?: string;
  entrypoint?: string;
  schedule?: string[];
  timezone?: string;
  param?: string[];
  retries?: number;
  retryDelay?: number;
  timeout?: number;
  image?: string;
  workingDir?: string;
  workQueue?: string;
  tag?: string[];
  description?: string;
  jobVariable?: string[];
}

const deployExamples = `
Examples:
  $ lictor deploy import --pool local --schedule '0 5 * * *' --param day:string=today -- ./import.sh {{ parameters.day }}
  $ lictor deploy report --pool local --entrypoint report.ts:report
  $ lictor deploy --from lictor.toml
`;

/** Adds the commands. */
export function addDeploy(program: Command): void {
  addDeployCommand(program);
  addRunCommand(program);
}

function addDeployCommand(program: Command): void {
  addCommand(program, "deploy", "Create or change a deployment that runs any program, or a TypeScript flow.")
    .helpGroup("Run:")
    .argument("[name]", "The name of the deployment: name or flow/name.")
    .argument("[command...]", "The program and its arguments, after --. They may have {{ parameters.NAME }}.")
    .option("-p, --pool <pool>", "The work pool that runs the flow runs.", poolName)
    .option("--from <file>", "Deploy everything that a file such as lictor.toml describes.")
    .option("-e, --entrypoint <file:flow>", "A flow of a module that uses lictor, instead of a command.")
    .option("--schedule <when>", "A cron expression, or seconds between flow runs. May be repeated.", collect)
    .option("--timezone <zone>", "The time zone of the schedules, such as Europe/Berlin.")
    .option("--param <name:type=default>", "A parameter. Without a default it is required. May be repeated.", collect)
    .option("--retries <n>", "How often a failed flow run is retried.", wholeNumber(0, mostSeconds))
    .option("--retry-delay <seconds>", "The time before a retry.", toCount)
    .option("--timeout <seconds>", "Stop a flow run that runs for longer.", toCount)
    .option("--image <image>", "The image of the containers.")
    .option("--working-dir <path>", "The working directory of processes.  [the current one]")
    .option("-q, --work-queue <queue>", "The work queue of the pool.")
    .option("--tag <tag>", "A tag. May be repeated.", collect)
    .option("--description <text>", "A description, in Markdown.")
    .option(
      "--job-variable <key=value>",
      "A job variable of the pool; the value is JSON or text. May be repeated.",
      collect,
    )
    .addHelpText("after", deployExamples)
    .action(async (name: string | undefined, words: string[], options: DeployOptions, command: Command) => {
      const { deploy, deployFrom, withProgram } = await loadDeploy();
      const { from, pool } = options;
      await withProgram({ ...profileOf(command), logFormat: "text" }, async (context) => {
        if (from !== undefined) {
          const isAlone = Object.keys(options).every((option) => ["from", "profile", "noColor"].includes(option));
          if (name !== undefined || !isAlone)
            throw new Error("--from deploys what the file says. Remove the name and the other options.");
          return await deployFrom(context, from);
        }
        if (name === undefined) throw new Error("Name the deployment, or use --from lictor.toml.");
        if (pool === undefined) throw new Error("Name the work pool: --pool POOL.");
        await deploy(context, toPlan({ name, pool, command: joinPlaceholders(words) }, options));
      });
    });
}

function toPlan(what: Pick<DeploymentPlan, "name" | "pool" | "command">, options: DeployOptions): DeploymentPlan {
  return {
    ...what,
    entrypoint: options.entrypoint ?? null,
    schedules: options.schedule ?? [],
    timezone: options.timezone ?? null,
    params: options.param ?? [],
    retries: options.retries ?? null,
    retryDelaySeconds: options.retryDelay ?? null,
    timeoutSeconds: options.timeout ?? null,
    image: options.image ?? null,
    workingDir: options.workingDir ?? null,
    workQueue: options.workQueue ?? null,
    tags: options.tag ?? [],
    description: options.description ?? null,
    jobVariables: toJobVariables(options.jobVariable ?? []),
  };
}

function addRunCommand(program: Command): void {
  addCommand(program, "run", "Create a flow run of a deployment.")
    .helpGroup("Run:")
    .argument("<name>", "The name of the deployment: name or flow/name.")
    .option("-p, --param <name=value>", "A parameter. Values other than texts are JSON. May be repeated.", collect)
    .option(
      "--watch",
      "Print states and logs until the end. The exit code is 0 if the flow run is Completed, else 1.",
      false,
    )
    .action(async (name: string, options: { param?: string[]; watch: boolean }, command: Command) => {
      const { run, withProgram } = await loadRun();
      await withProgram({ ...profileOf(command), logFormat: "text" }, (context) =>
        run(context, name, { param: options.param ?? [], watch: options.watch }),
      );
    });
}

/** A shell makes three words of `{{ parameters.day }}` if it is not quoted. */
function joinPlaceholders(words: readonly string[]): string[] {
  const joined: string[] = [];
  for (const word of words) {
    const [open, name = ""] = joined.slice(-2);
    const isEnd = word === "}}" && open === "{{" && name.startsWith("parameters.");
    if (isEnd) joined.splice(-2, 2, `{{ ${name} }}`);
    else joined.push(word);
  }
  return joined;
}

function toCount(text: string): number {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  if (number >= 0 && number <= mostSeconds) return number;
  throw new InvalidArgumentError(`Expected a number from 0 to ${mostSeconds}.`);
}

function toJobVariables(given: readonly string[]): JsonObject {
  const entries = given.map((text) => {
    const [, key, value] = /^([^=]+)=([\s\S]*)$/.exec(text) ?? [];
    if (key === undefined || value === undefined) throw new Error(`'${text}' is no job variable. Write key=value.`);
    try {
      return [key, parseExactJson(value)];
    } catch {
      return [key, value];
    }
  });
  return Object.fromEntries(entries) as JsonObject;
}
