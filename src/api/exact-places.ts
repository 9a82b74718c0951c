// The parts of API responses that may become part of a job configuration. Numbers keep their text there.
import type { ExactPlaces, Place } from "../exact-json.ts";

type Fields = { [key: string]: unknown };

/** Returns the places for the field `key` of a response. */
export const fieldOf =
  (key: string): ExactPlaces =>
  (value) =>
    placesOf(value, key);

/** The job variables and parameters of a flow run. */
export const valuesOfFlowRun: ExactPlaces = (flowRun) =>
  ["job_variables", "parameters"].flatMap((key) => placesOf(flowRun, key));

/** The job variables and parameters of each flow run that a poll returns. */
export const valuesOfPoll: ExactPlaces = (value) =>
  (value as Fields[]).flatMap(({ flow_run }) => valuesOfFlowRun(flow_run));

/** The base job template in a frame of the worker channel. */
export const templateOfFrame: ExactPlaces = (value) => {
  const payload = field(value, "payload");
  const pools = [field(payload, "work_pool"), field(field(payload, "initial_snapshot"), "work_pool")];
  return pools.flatMap((pool) => placesOf(pool, "base_job_template"));
};

function placesOf(value: unknown, key: string): Place[] {
  return isFields(value) && Object.hasOwn(value, key) ? [{ holder: value, key }] : [];
}

function field(value: unknown, key: string): unknown {
  return isFields(value) ? value[key] : undefined;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
