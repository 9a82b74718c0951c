// The job configuration of a flow run: its job variables laid over the work pool's base job template.
// Source: prefect workers/base.py BaseJobConfiguration, workers/process.py ProcessJobConfiguration.
import type { Deployment, FlowRun, Json, JsonObject, WorkPool } from "../api/wire.ts";
import { NumberText } from "../exact-json.ts";
import { pythonBoolean } from "../python-boolean.ts";
import { pythonText } from "../python-text.ts";
import { type Attribution, flowRunEnvironment } from "./environment.ts";
import { jobLabels } from "./labels.ts";
import {
  applyValues,
  isJsonObject,
  type ReferenceReaders,
  resolveBlocks,
  resolveVariables,
  splitPath,
} from "./template.ts";

/** How to start one flow run. `command` is null for the engine, `working_dir` for a temporary directory. */
export interface JobConfiguration {
  command: string | null;
  /** The complete environment of the child. */
  env: Record<string, string>;
  labels: Record<string, string>;
  name: string;
  stream_output: boolean;
  working_dir: string | null;
}

/** What a job configuration is made of. */
export interface JobConfigurationInput extends Attribution {
  workPool: WorkPool;
  exportedSettings: Readonly<Record<string, string>>;
  workerEnvironment: Readonly<Record<string, string | undefined>>;
  readers: ReferenceReaders;
}

/** A base job template or job variable of the wrong type; the message names the key. */
export class JobConfigurationError extends Error {
  override readonly name = "JobConfigurationError";
}

/**
 * Builds the job configuration of a flow run. Throws JobConfigurationError, TemplateError and what the readers throw.
 * Source: resolve_for_flow_run, from_template_and_values, prepare_for_flow_run.
 */
export async function buildJobConfiguration(input: JobConfigurationInput): Promise<JobConfiguration> {
  const { workPool, readers, workerEnvironment } = input;
  const { configuration, variables } = mergeVariables(workPool, jobVariables(input.deployment, input.flowRun));
  const filled = applyValues(configuration, variables, workerEnvironment);
  const fields = await resolveVariables(await resolveBlocks(filled, readers), readers);
  const jobEnvironment = environmentField(fields.env);
  return {
    command: textField("command", fields.command) || null,
    env: flowRunEnvironment({ ...input, jobEnvironment }),
    labels: { ...jobLabels(workPool, input), ...labelsField(fields.labels) },
    name: renderName(textField("name", fields.name), input),
    stream_output: booleanField("stream_output", fields.stream_output, true),
    working_dir: workingDirectoryField(fields.working_dir),
  };
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
    throw new JobConfigurationError(`Job variable "${key}" lies under another one that is ${describe(inner)}.`);
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
function renderName(name: string | null, { flow, flowRun, workerEnvironment }: JobConfigurationInput): string {
  if (!name) return flowRun.name;
  // The server's objects as they came: more than the fields declared, all of them JSON.
  const ctx = { flow: flow ?? {}, flow_run: flowRun } as unknown as JsonObject;
  const rendered = applyValues({ name }, { ctx }, workerEnvironment).name;
  // One placeholder that leads nowhere stays as it is, unlike in a longer text.
  if (rendered === undefined) return name;
  return isTruthy(rendered) ? pythonText(rendered) : flowRun.name;
}

function objectField(key: string, value: Json | undefined): JsonObject {
  if (value === undefined) return {};
  if (!isJsonObject(value)) throw mismatch(key, value, "an object");
  return value;
}

function environmentField(value: Json | undefined): Record<string, string | null> {
  const entries = Object.entries(objectField("env", value));
  return Object.fromEntries(entries.map(([key, item]) => [key, item === null ? null : pythonText(item)]));
}

function labelsField(value: Json | undefined): Record<string, string> {
  const labels = Object.entries(objectField("labels", value)).map(([key, item]) => {
    if (typeof item !== "string") throw mismatch(`labels.${key}`, item, "a string");
    return [key, item] as const;
  });
  return Object.fromEntries(labels);
}

function textField(key: string, value: Json | undefined): string | null {
  if (value === undefined || value === null || typeof value === "string") return value ?? null;
  throw mismatch(key, value, "a string or null");
}

/** An empty path is the worker's own directory, as in Python's pathlib. */
function workingDirectoryField(value: Json | undefined): string | null {
  const path = textField("working_dir", value);
  return path === "" ? "." : path;
}

function booleanField(key: string, value: Json | undefined, whenMissing: boolean): boolean {
  if (value === undefined) return whenMissing;
  const boolean = pythonBoolean(value);
  if (boolean !== undefined) return boolean;
  throw mismatch(key, value, "true or false", typeof value === "string" ? JSON.stringify(value) : undefined);
}

function mismatch(key: string, value: Json, expected: string, found = describe(value)): JobConfigurationError {
  return new JobConfigurationError(`Job configuration key "${key}" is ${found}, but ${expected} is expected.`);
}

/** Names the kind only, since a text or what is in an object may be a secret. */
function describe(value: Json | undefined): string {
  if (typeof value === "string") return "a string";
  if (Array.isArray(value)) return "a list";
  return isJsonObject(value) ? "an object" : String(value);
}

function isTruthy(value: Json | undefined): boolean {
  if (value instanceof NumberText) return Number(value) !== 0;
  return typeof value === "object" && value !== null ? Object.keys(value).length > 0 : Boolean(value);
}
