// The shapes of API responses, with the fields that lictor reads. A response of another shape fails the request with a
// one-line error, so that the code that uses responses need not check them.
import { boolean, type Check, integer, listOf, number, object, optional, string, text, time } from "./json-check.ts";

const state = object({
  id: optional(string),
  type: text,
  name: string,
  message: optional(string),
  timestamp: optional(string),
  state_details: optional(object({ transition_id: optional(string), scheduled_time: optional(string) })),
});

/** All states of a flow run. */
export const statesShape: Check = listOf(state);

const flowRunFields = {
  id: text,
  name: optional(string),
  state_type: optional(text),
  state_name: optional(string),
  state: optional(state),
  start_time: optional(string),
  infrastructure_pid: optional(string),
  next_scheduled_start_time: optional(string),
  expected_start_time: optional(string),
  created: optional(string),
  labels: optional(object({})),
  parameters: optional(object({})),
  empirical_policy: optional(
    object({ retries: optional(number), retry_delay: optional(number), retry_type: optional(string) }),
  ),
};

/** A flow run, with the fields for reading its state. */
export const flowRunShape: Check = object(flowRunFields);

/** A flow run that was just created. */
export const createdFlowRunShape: Check = object({ ...flowRunFields, name: text });

/** The response to a poll: flow runs with all fields that are needed to execute them. */
export const scheduledFlowRunsShape: Check = listOf(
  object({
    flow_run: object({
      ...flowRunFields,
      name: string,
      flow_id: text,
      deployment_id: optional(text),
      tags: listOf(string),
      job_variables: optional(object({})),
    }),
  }),
);

/** A deployment. */
export const deploymentShape: Check = object({
  id: text,
  name: string,
  tags: optional(listOf(string)),
  updated: optional(time),
  job_variables: optional(object({})),
  parameter_openapi_schema: optional(object({ properties: optional(object({})) })),
  branch: optional(string),
  base: optional(string),
  root: optional(string),
  version_id: optional(string),
  version_info: optional(object({ type: optional(string), version: optional(string) })),
});

/** A flow. */
export const flowShape: Check = object({ id: text, name: string, tags: optional(listOf(string)) });

/** A work pool. */
export const workPoolShape: Check = object({
  id: text,
  name: text,
  type: text,
  base_job_template: object({}),
  is_paused: boolean,
  concurrency_limit: optional(integer),
  status: optional(text),
});

/** A work queue. */
export const workQueueShape: Check = object({ is_paused: boolean });

/** Workers of a work pool. */
export const workersShape: Check = listOf(object({ name: string, status: text }));

/** The response to a state proposal. */
export const orchestrationShape: Check = object({
  status: text,
  state: optional(state),
  details: optional(object({ reason: optional(string), delay_seconds: optional(number) })),
});

/** A block document. */
export const blockDocumentShape: Check = object({ data: object({}) });

/** A variable, whose value may be any JSON. */
export const variableShape: Check = object({});
