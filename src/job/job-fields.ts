// Makes the fields of a job from the base job template of a work pool and the job variables of a flow run.
// Source: prefect workers/base.py BaseJobConfiguration.
import type { Deployment, FlowRun, Json, JsonObject, WorkPool } from "../api/wire.ts";
import { pythonText } from "../python-text.ts";
import type { Attribution } from "./flow-run-environment.ts";
import { reportingFields } from "./reporting-fields.ts";
import {
  applyValues,
  isJsonObject,
  type ReferenceReaders,
  resolveBlocks,
  resolveVariables,
  splitPath,
} from "./template.ts";
import { describeKind, isTruthy, JobConfigurationError, objectField } from "./typed-fields.ts";

/** What a job is made from. */
export interface RunFacts extends Attribution {
  workPool: WorkPool;
  /** The settings for the program of a flow run, as variables. */
  exportedSettings: Readonly<Record<string, string>>;
  /** The environment that lictor was started with. Placeholders may name its variables. */
  environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Returns the fields of the base job template with all placeholders replaced, except those of `name`. Throws
 * JobConfigurationError, TemplateError and what the readers throw.
 * Source: resolve_for_flow_run, from_template_and_values, prepare_for_flow_run.
 */
export async function resolveJobFields(facts: RunFacts, readers: ReferenceReaders): Promise<JsonObject> {
  const { workPool, deployment, flowRun, environment } = facts;
  const { configuration, variables } = mergeVariables(workPool, jobVariables(deployment, flowRun));
  const filled = applyValues(configuration, variables, environment);
  return await resolveVariables(await resolveBlocks(filled, readers), readers);
}

/**
 * Returns the fields of a job without job variables. Blocks and variables of the server are not resolved. Throws
 * JobConfigurationError and TemplateError.
 */
export function defaultJobFields(workPool: WorkPool, environment: RunFacts["environment"]): JsonObject {
  const { configuration, variables } = mergeVariables(workPool, {});
  return applyValues(configuration, variables, environment);
}

/** Returns the deployment's job variables, overridden by those of the flow run. `env` is merged variable by variable. */
function jobVariables(deployment: Deployment | null, flowRun: FlowRun): JsonObject {
  const under = deployment?.job_variables ?? {};
  const over = flowRun.job_variables ?? {};
  if (!isJsonObject(under.env) || over.env === undefined) return { ...under, ...over };
  return { ...under, ...over, env: { ...under.env, ...objectField("env", over.env) } };
}

/**
 * Returns the template to fill and the variables to fill it with. If `env` of the template or its default is an object, the
 * variables are added to it instead of replacing it. Throws JobConfigurationError.
 */
function mergeVariables(workPool: WorkPool, values: JsonObject) {
  const { job_configuration: template, variables: schema } = workPool.base_job_template;
  if (!isJsonObject(template)) {
    throw new JobConfigurationError(`The base job template of work pool "${workPool.name}" has no job_configuration.`);
  }
  const defaults = defaultsOf(schema);
  let env = template.env;
  if (isTruthy(defaults.env)) env = isJsonObject(env) ? mergeEnv(env, defaults.env) : defaults.env;
  const variables = { ...defaults, ...expandDottedKeys(values) };
  if (isJsonObject(env) && isTruthy(variables.env)) env = mergeEnv(env, variables.env);
  // Work pools that others created do not have these fields, and their flow runs may need them.
  const configuration = { ...reportingFields, ...template };
  return { configuration: env === undefined ? configuration : { ...configuration, env }, variables };
}

function mergeEnv(env: JsonObject, over: Json | undefined): JsonObject {
  return { ...env, ...objectField("env", over) };
}

function defaultsOf(schema: Json | undefined): JsonObject {
  const properties = isJsonObject(schema) && isJsonObject(schema.properties) ? schema.properties : {};
  const entries = Object.entries(properties).flatMap(([key, property]) => {
    const value = isJsonObject(property) ? (property.default ?? null) : null;
    return value === null ? [] : [[key, value] as const];
  });
  return Object.fromEntries(entries);
}

/** Turns `{"env.A": 1}` into `{"env": {"A": 1}}`. Plain keys override dotted ones. Throws JobConfigurationError. */
function expandDottedKeys(values: JsonObject): JsonObject {
  const entries = Object.entries(values);
  const dotted = entries.filter(([key]) => key.includes("."));
  const nested = dotted.reduce<JsonObject>((all, [key, value]) => withValueAt(all, splitPath(key), value, key), {});
  return deepMerge(nested, Object.fromEntries(entries.filter(([key]) => !key.includes("."))));
}

function withValueAt(target: JsonObject, path: readonly string[], value: Json, key: string): JsonObject {
  const [head = "", ...rest] = path;
  if (rest.length === 0) return { ...target, [head]: value };
  const inner = Object.hasOwn(target, head) ? target[head] : {};
  if (!isJsonObject(inner)) {
    throw new JobConfigurationError(`Job variable "${key}" lies under another one that is ${describeKind(inner)}.`);
  }
  return { ...target, [head]: withValueAt(inner, rest, value, key) };
}

function deepMerge(under: JsonObject, over: JsonObject): JsonObject {
  const merged = Object.entries(over).map(([key, value]) => {
    const below = Object.hasOwn(under, key) ? under[key] : undefined;
    return [key, isJsonObject(below) && isJsonObject(value) ? deepMerge(below, value) : value] as const;
  });
  return { ...under, ...Object.fromEntries(merged) };
}

/** Renders `{{ ctx.flow.* }}` and `{{ ctx.flow_run.* }}` in a name. Returns the flow run's name if the result is empty. */
export function renderName(name: string | null, { flow, flowRun, environment }: RunFacts): string {
  if (!name) return flowRun.name;
  // The server's objects have more fields than the types declare, and all of them are JSON.
  const ctx = { flow: flow ?? {}, flow_run: flowRun } as unknown as JsonObject;
  const rendered = applyValues({ name }, { ctx }, environment).name;
  // A name that is only one placeholder without a value stays as it is. In a longer text it becomes empty.
  if (rendered === undefined) return name;
  return isTruthy(rendered) ? pythonText(rendered) : flowRun.name;
}
