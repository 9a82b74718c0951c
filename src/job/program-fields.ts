// Reads from the fields of a job which program to start, and who reports its states.
import type { Json, JsonObject } from "../api/wire.ts";
import { stringifyExactJson } from "../exact-json.ts";
import {
  fitsVariable,
  type Program,
  parametersVariable,
  type ReportedProgram,
  resultFileVariable,
} from "../program/program.ts";
import { splitCommand } from "./command.ts";
import type { RunFacts } from "./job-fields.ts";
import { isJsonObject } from "./template.ts";
import { countField, JobConfigurationError, textField, textListField } from "./typed-fields.ts";

/**
 * Returns the program of a job. Its fields say that the worker reports its states if `reporter` is `worker`, or if there
 * is a `program`. `env` holds the flow run's variables. Throws JobConfigurationError and CommandError.
 */
export function toProgram(fields: JsonObject, { flowRun }: RunFacts, env: Readonly<Record<string, string>>): Program {
  const command = textField("command", fields.command);
  const words = textListField("program", fields.program);
  if (!isReportedByWorker(fields.reporter) && words.length === 0)
    return { command: command ? splitCommand(command) : null, env, reporter: "engine" };
  const parameters = flowRun.parameters ?? {};
  return {
    command: fillIn(words.length > 0 ? words : splitTemplate(command ?? ""), parameters),
    env,
    reporter: "worker",
    parameters: stringifyExactJson(parameters),
    rules: {
      timeoutSeconds: countField("timeout_seconds", fields.timeout_seconds) || null,
      // The server has whole numbers only.
      retries: roundUp(countField("retries", fields.retries)),
      retryDelaySeconds: roundUp(countField("retry_delay_seconds", fields.retry_delay_seconds)),
    },
  };
}

function roundUp(value: number | null): number | null {
  return value === null ? null : Math.ceil(value);
}

/**
 * Returns the program with the variables that it needs in a container, where it has only variables. `resultPath` is where it
 * writes its result. Throws JobConfigurationError if its parameters fit into no variable.
 */
export function inContainer(program: Program, resultPath: string): Program {
  if (program.reporter === "engine") return program;
  const { parameters, env } = program;
  if (!fitsVariable(parameters)) {
    throw new JobConfigurationError(
      `The parameters have ${Buffer.byteLength(parameters)} bytes, and a variable of a container has room for 128 kB. Pass the name of a file or an object instead.`,
    );
  }
  return { ...program, env: { ...env, [parametersVariable]: parameters, [resultFileVariable]: resultPath } };
}

function isReportedByWorker(field: Json | undefined): boolean {
  const reporter = textField("reporter", field);
  if (reporter === "worker") return true;
  if (reporter === null || reporter === "" || reporter === "engine") return false;
  throw new JobConfigurationError(
    `Job configuration key "reporter" is ${JSON.stringify(reporter)}, but "engine" or "worker" is expected.`,
  );
}

// The names are those of JSON, with dots between the keys of nested objects.
const placeholder = /\{\{\s*parameters\.([^{}\s]+)\s*\}\}/g;

/** Returns the names of parameters in `{{ parameters.NAME }}` in these words. */
export function parametersIn(words: readonly string[]): string[] {
  return words.flatMap((word) => [...word.matchAll(placeholder)].map(([, name = ""]) => name));
}

/** Splits a command. The spaces inside the braces of a placeholder do not split it. */
function splitTemplate(command: string): string[] {
  return splitCommand(command.replace(placeholder, (_, name: string) => `{{parameters.${name}}}`));
}

/**
 * Returns the words with the values of `{{ parameters.NAME }}`. A value never becomes more than one word. Texts are passed
 * on as they are, null as an empty text, and everything else as JSON. Throws JobConfigurationError.
 */
function fillIn(words: readonly string[], parameters: JsonObject): ReportedProgram["command"] {
  const [program, ...others] = words.map((word) =>
    word.replace(placeholder, (_, name: string) => asText(parameterAt(parameters, name))),
  );
  if (program !== undefined && program !== "") return [program, ...others];
  throw new JobConfigurationError(
    'The job has "reporter": "worker", but no program. Set "command" or "program", or deploy it with `lictor deploy`.',
  );
}

function parameterAt(parameters: JsonObject, name: string): Json {
  let value: Json | undefined = parameters;
  if (Object.hasOwn(parameters, name)) return parameters[name] ?? null;
  for (const key of name.split(".")) value = isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  if (value !== undefined) return value;
  const known = Object.keys(parameters).join(", ") || "none";
  throw new JobConfigurationError(
    `The command has {{ parameters.${name} }}, but the flow run's parameters are: ${known}.`,
  );
}

function asText(value: Json): string {
  if (value === null) return "";
  return typeof value === "string" ? value : stringifyExactJson(value);
}
