// The fields of a job: the job variables of a flow run laid over the base job template of its work pool.
// Source: prefect workers/base.py BaseJobConfiguration.
import type { Deployment, FlowRun, Json, JsonObject, WorkPool } from "../api/wire.ts";
import { pythonText } from "../python-text.ts";
import type { Attribution } from "./flow-run-environment.ts";
import {
  applyValues,
  isJsonObject,
  type ReferenceReaders,
  resolveBlocks,
  resolveVariables,
  splitPath,
} from "./template.ts";
import { describeKind, isTruthy, JobConfigurationError, objectField } from "./typed-fields.ts";

/** What is known of a flow run when its job is made. */
export interface RunFacts extends Attribution {
  workPool: WorkPool;
  /** The settings that a flow run's program is given. */
  exportedSettings: Readonly<Record<string, string>>;
  /** The environment that lictor was started with: placeholders may name its variables. */
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

/** The deployment's job variables under those of the flow run, with `env` merged by variable. */
function jobVariables(deployment: Deployment | null, flowRun: FlowRun): JsonObject {
  const ours = deployment?.job_variables ?? {};
  const theirs = flowRun.job_variables ?? {};
  if (!isJsonObject(ours.env) || theirs.env === undefined) return { ...ours, ...theirs };
  return { ...ours, ...theirs, env: { ...ours.env, ...objectField("env", theirs.env) } };
}

/**
 * The template that is filled, and the variables it is filled with. `env` is special: where it is an object by itself
 * or by its default, the variables add to it and do not replace it.
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
  return { configuration: env === undefined ? template : { ...template, env }, variables };
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

/** Makes `{"env.A": 1}` an `{"env": {"A": 1}}`. Plain keys are merged over what the dotted ones make. */
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

/** Renders `{{ ctx.flow.* }}` and `{{ ctx.flow_run.* }}`; a name that comes to nothing is the flow run's name. */
export function renderName(name: string | null, { flow, flowRun, environment }: RunFacts): string {
  if (!name) return flowRun.name;
  // The server's objects as they came: more than the fields declared, all of them JSON.
  const ctx = { flow: flow ?? {}, flow_run: flowRun } as unknown as JsonObject;
  const rendered = applyValues({ name }, { ctx }, environment).name;
  // One placeholder that leads nowhere stays as it is, unlike in a longer text.
  if (rendered === undefined) return name;
  return isTruthy(rendered) ? pythonText(rendered) : flowRun.name;
}
