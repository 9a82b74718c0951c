// A deployment as options and lictor.toml describe it, and the fields that the server gets for it.
import type { Json, JsonObject } from "../api/wire.ts";
import { NumberText, parseExactJson } from "../exact-json.ts";
import { parametersIn } from "../job/program-fields.ts";
import { isJsonObject } from "../job/template.ts";

/** One deployment, as a user describes it. */
export interface DeploymentPlan {
  /** `name` or `flow/name`. */
  readonly name: string;
  readonly pool: string;
  /** The program and its arguments. Empty with an entrypoint. */
  readonly command: readonly string[];
  /** A flow of a module, as `file:flow`. */
  readonly entrypoint: string | null;
  readonly schedules: readonly string[];
  readonly timezone: string | null;
  readonly params: readonly string[];
  readonly retries: number | null;
  readonly retryDelaySeconds: number | null;
  readonly timeoutSeconds: number | null;
  readonly image: string | null;
  readonly workingDir: string | null;
  readonly workQueue: string | null;
  readonly tags: readonly string[];
  readonly description: string | null;
  readonly jobVariables: JsonObject;
}

/** What the module of an entrypoint says about its flow. */
export interface FlowDescription {
  readonly name: string;
  readonly parameters: ParameterSchema;
  readonly retries: number | null;
  readonly retryDelaySeconds: number | null;
  readonly timeoutSeconds: number | null;
}

/** JSON Schema of the parameters of a flow. */
export interface ParameterSchema {
  readonly type: "object";
  readonly properties: JsonObject;
  readonly required: readonly string[];
}

/** What the plan becomes: the names of flow and deployment, and the fields of the deployment without the flow's id. */
export interface PlannedDeployment {
  readonly flow: string;
  readonly name: string;
  readonly fields: JsonObject;
}

/** Returns the flow and the deployment in `name` or `flow/name`. Throws an Error for another form. */
export function splitName(name: string): { flow: string; name: string } {
  if (/[%&><]/.test(name)) throw new Error(`'${name}' is no name of a deployment. It may have none of % & > <.`);
  const parts = name.split("/");
  const [first = "", second = first] = parts;
  if (parts.length <= 2 && first !== "" && second !== "") return { flow: first, name: second };
  throw new Error(`'${name}' is no name of a deployment. Write 'name' or 'flow/name'.`);
}

/**
 * Returns what the server gets. `poolType` is the type of its work pool, and `directory` the working directory of lictor.
 * Throws an Error for a schedule or parameter that cannot be read.
 */
export function planDeployment(
  plan: DeploymentPlan,
  { poolType, directory, described }: { poolType: string; directory: string; described: FlowDescription | null },
): PlannedDeployment {
  const { flow, name } = splitName(plan.name);
  const schema = mergeSchemas(described?.parameters ?? emptySchema, plan.params.map(parseParam));
  const defaults = Object.entries(schema.properties).flatMap(([key, property]) => {
    const value = (property as { default?: Json }).default;
    return value === undefined ? [] : [[key, value] as const];
  });
  const unknown = parametersIn(plan.command).find(
    (given) => !Object.hasOwn(schema.properties, given) && !Object.hasOwn(schema.properties, given.split(".")[0] ?? ""),
  );
  if (unknown !== undefined)
    throw new Error(
      `The command has {{ parameters.${unknown} }}, but the deployment has no such parameter. Add --param ${unknown.split(".")[0]}.`,
    );
  const program = described ? ["node", (plan.entrypoint ?? "").replace(/:[^:]*$/, "")] : [...plan.command];
  return {
    flow,
    name,
    fields: {
      name,
      work_pool_name: plan.pool,
      ...(plan.workQueue !== null && { work_queue_name: plan.workQueue }),
      parameter_openapi_schema: { title: "Parameters", ...schema, required: [...schema.required] },
      parameters: Object.fromEntries(defaults),
      enforce_parameter_schema: true,
      tags: [...plan.tags],
      description: plan.description,
      schedules: plan.schedules.map((schedule) => ({ schedule: parseSchedule(schedule, plan.timezone), active: true })),
      entrypoint: plan.entrypoint ?? program.join(" "),
      pull_steps: [explainingStep(plan.pool)],
      job_variables: jobVariables(plan, { program, poolType, directory, described }),
    },
  };
}

function jobVariables(
  plan: DeploymentPlan,
  given: { program: readonly string[]; poolType: string; directory: string; described: FlowDescription | null },
): JsonObject {
  const { program, poolType, directory, described } = given;
  // Programs of a process pool run where `lictor deploy` ran, as the flows of `prefect deploy` do.
  const workingDir = plan.workingDir ?? (poolType === "process" ? directory : null);
  const values: Record<string, Json | null> = {
    reporter: "worker",
    program: [...program],
    working_dir: workingDir,
    image: plan.image,
    timeout_seconds: plan.timeoutSeconds ?? described?.timeoutSeconds ?? null,
    retries: plan.retries ?? described?.retries ?? null,
    retry_delay_seconds: plan.retryDelaySeconds ?? described?.retryDelaySeconds ?? null,
  };
  const set = Object.entries(values).filter(([, value]) => value !== null);
  const { env, ...others } = plan.jobVariables;
  const variables = environment(env, described);
  return { ...Object.fromEntries(set), ...others, ...(variables !== undefined && { env: variables }) };
}

/** Adds the variable that names the flow. In kubernetes work pools, variables may be a list. */
function environment(env: Json | undefined, described: FlowDescription | null): Json | undefined {
  const isUsable = env === undefined || Array.isArray(env) || isJsonObject(env);
  if (!isUsable) throw new Error('The job variable env must be an object, such as {"NAME": "value"}.');
  if (described === null) return env;
  if (Array.isArray(env)) return [...env, { name: "LICTOR_FLOW", value: described.name }];
  return { ...env, LICTOR_FLOW: described.name };
}

/**
 * Returns a pull step that fails if another worker starts an engine for this deployment. The engine writes the last part of a
 * step's name to the logs of the flow run, so the name says what to do. Source: prefect deployments/steps/core.py run_steps.
 */
function explainingStep(pool: string): JsonObject {
  const why = "this deployment runs a program and no Python flow, so it needs a lictor worker";
  return { [`lictor.${why}: lictor worker start --pool ${pool.replaceAll(".", "_")}`]: {} };
}

const emptySchema: ParameterSchema = { type: "object", properties: {}, required: [] };

const types: Readonly<Record<string, string>> = {
  string: "string",
  str: "string",
  integer: "integer",
  int: "integer",
  number: "number",
  float: "number",
  boolean: "boolean",
  bool: "boolean",
  array: "array",
  list: "array",
  object: "object",
  dict: "object",
};

/** A parameter with its type, and its default if it has one. */
interface Param {
  readonly name: string;
  readonly type: string;
  readonly value: Json | undefined;
}

/** Reads `name`, `name:type`, `name=default` or `name:type=default`. Throws an Error for another form. */
export function parseParam(text: string): Param {
  const [, name = "", typeName = "string", value] = /^([^:=\s]+)(?::([^=]*))?(?:=([\s\S]*))?$/.exec(text) ?? [];
  const type = Object.hasOwn(types, typeName) ? types[typeName] : undefined;
  if (name === "") throw new Error(`'${text}' is no parameter. Write name:type=default.`);
  if (type === undefined) {
    const known = "string, integer, number, boolean, array or object";
    throw new Error(`The parameter '${name}' has the unknown type '${typeName}'. Write ${known}.`);
  }
  return { name, type, value: value === undefined ? undefined : parseValue(name, type, value) };
}

/** Reads the value of a parameter. A text is taken as it is, and other types are JSON. Throws an Error. */
export function parseValue(name: string, type: string | undefined, text: string): Json {
  if (type === "string") return text;
  let value: Json;
  try {
    value = parseExactJson(text) as Json;
  } catch {
    // Without a schema, the server takes anything.
    if (type === undefined) return text;
    throw new Error(`The value '${text}' of parameter '${name}' is no ${type}. Write it as JSON.`);
  }
  const isOfType = type === undefined || type === typeOf(value) || (type === "number" && typeOf(value) === "integer");
  if (!isOfType) throw new Error(`The value '${text}' of parameter '${name}' is no ${type}.`);
  return value;
}

function typeOf(value: Json): string {
  if (Array.isArray(value)) return "array";
  if (value === null) return "null";
  const isNumber = typeof value === "number" || (value as unknown) instanceof NumberText;
  if (!isNumber) return typeof value;
  return Number.isInteger(Number(value)) ? "integer" : "number";
}

function mergeSchemas(schema: ParameterSchema, params: readonly Param[]): ParameterSchema {
  const added = params.map(({ name, type, value }) => [
    name,
    { title: name, type, ...(value !== undefined && { default: value }) },
  ]);
  const names = new Set(params.map(({ name }) => name));
  const properties: JsonObject = { ...schema.properties, ...Object.fromEntries(added) };
  const positioned = Object.entries(properties).map(([name, property], position) => [
    name,
    { title: name, position, ...(property as JsonObject) },
  ]);
  return {
    type: "object",
    properties: Object.fromEntries(positioned) as JsonObject,
    required: [
      ...schema.required.filter((name) => !names.has(name)),
      ...params.filter(({ value }) => value === undefined).map(({ name }) => name),
    ],
  };
}

/** Reads a schedule: seconds between flow runs, or a cron expression of five fields. Throws an Error for another form. */
export function parseSchedule(text: string, timezone: string | null): JsonObject {
  if (timezone !== null && !isTimeZone(timezone))
    throw new Error(`'${timezone}' is no time zone. Write one such as Europe/Berlin.`);
  const words = text.trim().split(/\s+/);
  const seconds = words.length === 1 ? Number(words[0]) : Number.NaN;
  if (seconds > 0 && Number.isFinite(seconds)) return { interval: seconds, ...(timezone !== null && { timezone }) };
  if (words.length === 5 || /^@\w+$/.test(text.trim())) return { cron: words.join(" "), timezone: timezone ?? "UTC" };
  throw new Error(`'${text}' is no schedule. Write a number of seconds, or a cron expression such as '0 5 * * *'.`);
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}
