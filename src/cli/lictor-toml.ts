// Reads deployments from lictor.toml. Its keys are the names of the options of `lictor deploy`.
import type { JsonObject } from "../api/wire.ts";
import { NumberText } from "../exact-json.ts";
import { isJsonObject } from "../job/template.ts";
import { mostSeconds } from "../job/typed-fields.ts";
import { parseToml } from "../settings/sources.ts";
import type { DeploymentPlan } from "./deployment-plan.ts";
import { isPoolName } from "./pool-name.ts";

/** Returns the deployments in the text of a file. Throws an Error that names the file, the deployment and the key. */
export function readDeployments(file: string, text: string): DeploymentPlan[] {
  const { deployments, ...others } = parseToml(file, text) as JsonObject;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new Error(`${file} has an unknown key '${unknown}'. Deployments are [deployments.NAME].`);
  if (!isJsonObject(deployments) || Object.keys(deployments).length === 0)
    throw new Error(`${file} has no deployments. Write a table [deployments.NAME] for each.`);
  return Object.entries(deployments).map(([name, table]) =>
    toPlan(name, new Table(`${file}: deployments.${name}`, table)),
  );
}

function toPlan(name: string, table: Table): DeploymentPlan {
  const plan: DeploymentPlan = {
    name,
    pool: table.poolName("pool"),
    command: table.texts("command"),
    entrypoint: table.text("entrypoint"),
    schedules: table.texts("schedule"),
    timezone: table.text("timezone"),
    params: table.texts("param"),
    retries: table.wholeNumber("retries"),
    retryDelaySeconds: table.count("retry-delay"),
    timeoutSeconds: table.count("timeout"),
    image: table.text("image"),
    workingDir: table.text("working-dir"),
    workQueue: table.text("work-queue"),
    tags: table.texts("tag"),
    description: table.text("description"),
    jobVariables: table.object("job-variables"),
  };
  table.refuseOthers();
  return plan;
}

/** The table of one deployment. It notes which keys were read. */
class Table {
  readonly #values: JsonObject;
  readonly #read = new Set<string>();

  constructor(
    private readonly place: string,
    value: unknown,
  ) {
    this.#values = isJsonObject(value as JsonObject) ? (value as JsonObject) : this.refuse("is no table");
  }

  text(key: string): string | null {
    const value = this.#take(key);
    if (value === undefined || typeof value === "string") return value ?? null;
    return this.refuse(`has a '${key}' that is no text`);
  }

  poolName(key: string): string {
    const name = this.text(key) ?? this.refuse(`has no '${key}'`);
    return isPoolName(name) ? name : this.refuse(`has a '${key}' that is no name of a work pool: '${name}'`);
  }

  /** A list of texts. One text is a list of one, and numbers are texts. */
  texts(key: string): string[] {
    const value = this.#take(key) ?? [];
    return (Array.isArray(value) ? value : [value]).map((item) => {
      if (["string", "number", "bigint"].includes(typeof item)) return String(item);
      return this.refuse(`has a '${key}' that is no list of texts`);
    });
  }

  count(key: string): number | null {
    const value = this.#take(key);
    if (value === undefined || (typeof value === "number" && value >= 0 && value <= mostSeconds)) return value ?? null;
    return this.refuse(`has a '${key}' that is no number from 0 to ${mostSeconds}`);
  }

  wholeNumber(key: string): number | null {
    const value = this.count(key);
    return value === null || Number.isInteger(value) ? value : this.refuse(`has a '${key}' that is no whole number`);
  }

  object(key: string): JsonObject {
    const value = this.#take(key) ?? {};
    return isJsonObject(value) ? keepIntegers(value) : this.refuse(`has '${key}' that is no table`);
  }

  refuseOthers(): void {
    const unknown = Object.keys(this.#values).find((key) => !this.#read.has(key));
    if (unknown !== undefined) this.refuse(`has an unknown key '${unknown}'. Known are: ${[...this.#read].join(", ")}`);
  }

  refuse(problem: string): never {
    throw new Error(`${this.place} ${problem}.`);
  }

  #take(key: string) {
    this.#read.add(key);
    return this.#values[key];
  }
}

/** The parser returns integers above 2^53 as a type that JSON does not have. */
function keepIntegers<T>(value: T): T {
  if (typeof value === "bigint") return new NumberText(String(value)) as T;
  if (Array.isArray(value)) return value.map(keepIntegers) as T;
  if (!isJsonObject(value as JsonObject)) return value;
  return Object.fromEntries(Object.entries(value as object).map(([key, item]) => [key, keepIntegers(item)])) as T;
}
