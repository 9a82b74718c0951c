// The options of flows and tasks. Types do not protect a module in JavaScript, and a wrong limit would make a flow wait for ever.
import { checkDefault } from "./parameters.ts";
import type { FlowOptions, ParameterDefinitions, TaskOptions } from "./types.ts";

/** Throws a TypeError that names the first option that cannot be used. */
export function checkTask(options: TaskOptions, act: unknown): void {
  const { name, retryDelaySeconds: delay, concurrency = 1, tags = [] } = options;
  checkName("task", name, act);
  const what = `The task '${name}'`;
  checkTimes(what, options);
  const delays = typeof delay === "function" ? [] : Array.isArray(delay) ? delay : [delay ?? 0];
  refuse(delays.every(isTime), what, "retryDelaySeconds", delay, "a number of seconds, a list of them, or a function");
  const isCount = concurrency === Number.POSITIVE_INFINITY || Number.isInteger(concurrency);
  refuse(isCount && concurrency >= 1, what, "concurrency", concurrency, "a whole number from 1 on");
  const areTexts = Array.isArray(tags) && tags.every((tag) => typeof tag === "string");
  refuse(areTexts, what, "tags", tags, "a list of texts");
}

/** Throws a TypeError that names the first option that cannot be used. */
export function checkFlow(options: FlowOptions<ParameterDefinitions>, act: unknown): void {
  const { name, parameters = {}, retryDelaySeconds: delay } = options;
  checkName("flow", name, act);
  const what = `The flow '${name}'`;
  checkTimes(what, options);
  refuse(isTime(delay ?? 0), what, "retryDelaySeconds", delay, "a number of seconds");
  for (const [parameter, definition] of Object.entries(parameters)) checkDefault(parameter, definition);
}

function checkName(kind: "flow" | "task", name: unknown, act: unknown): void {
  if (typeof name !== "string" || name === "")
    throw new TypeError(`A ${kind} needs a name: ${kind}({ name: "report" }, function).`);
  if (typeof act !== "function") throw new TypeError(`The ${kind} '${name}' has no function.`);
}

function checkTimes(what: string, { retries, timeoutSeconds }: { retries?: unknown; timeoutSeconds?: unknown }): void {
  const isCount = retries === undefined || (Number.isInteger(retries) && (retries as number) >= 0);
  refuse(isCount, what, "retries", retries, "a whole number from 0 on");
  const isLimit = timeoutSeconds === undefined || (isTime(timeoutSeconds) && timeoutSeconds > 0);
  refuse(isLimit, what, "timeoutSeconds", timeoutSeconds, "a number of seconds above 0");
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function refuse(isRight: boolean, what: string, option: string, value: unknown, right: string): void {
  if (isRight) return;
  const shown = typeof value === "number" ? String(value) : JSON.stringify(value);
  throw new TypeError(`${what} has ${option} ${shown}. Write ${right}.`);
}
