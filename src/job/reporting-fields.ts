// The fields of a job that say how the worker reports the states of a program. All pool types have them.
import type { JsonObject } from "../api/wire.ts";

function orNull(type: JsonObject): JsonObject {
  return { anyOf: [type, { type: "null" }], default: null };
}

/** The variables, for the base job templates that lictor gives to work pools. User interfaces show titles and descriptions. */
export const reportingVariables: JsonObject = {
  reporter: {
    title: "Reporter",
    description: "Who reports the states of a flow run: a Prefect engine, or a lictor worker for any other program.",
    type: "string",
    enum: ["engine", "worker"],
    default: "engine",
  },
  program: {
    title: "Program",
    description:
      "The program and its arguments, one item each. A lictor worker runs it and reports its states. Items may have {{ parameters.NAME }}.",
    ...orNull({ type: "array", items: { type: "string" } }),
  },
  timeout_seconds: {
    title: "Timeout Seconds",
    description: "A lictor worker stops a program that runs for longer. Only with reporter worker.",
    ...orNull({ type: "number" }),
  },
  retries: {
    title: "Retries",
    description: "How often a program that fails is run again. Only with reporter worker.",
    ...orNull({ type: "integer" }),
  },
  retry_delay_seconds: {
    title: "Retry Delay Seconds",
    description: "The time before a program that failed is run again. Only with reporter worker.",
    ...orNull({ type: "number" }),
  },
};

/** The fields of a job configuration that are filled with these variables. */
export const reportingFields: JsonObject = Object.fromEntries(
  Object.keys(reportingVariables).map((name) => [name, `{{ ${name} }}`]),
);
