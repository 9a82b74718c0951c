// Work pools and deployments as the tests of this folder need them: each test has a pool of its own.
import { randomUUID } from "node:crypto";
import { inject } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { isPrefectSince } from "../support/prefect-release.ts";

/** The flows of test/fixtures/flows, by file name. */
export type FixtureFlow =
  | "hello"
  | "fail"
  | "kill_self"
  | "exit_three"
  | "leave_behind"
  | "log_much"
  | "process_facts"
  | "sleep";

/**
 * For commands that change much on the server. Earlier servers on SQLite answer 503 for half a minute while they store the task
 * runs of another test.
 */
export const patientEnv = { PREFECT_API_URL: inject("apiUrl"), PREFECT_CLIENT_MAX_RETRIES: "12" };

/** The API of the server that all tests share. */
export function sharedApi(): PrefectApi {
  return prefectApi(inject("apiUrl"));
}

/** The states of a claimed flow run until it runs; servers before 3.6.22 have no Submitting after Pending. */
export function claimedStates(): string[] {
  return isPrefectSince("3.6.22") ? ["Pending", "Submitting"] : ["Pending"];
}

/** A process pool of a new name. */
export async function newPool(api: PrefectApi, fields: JsonObject = {}): Promise<string> {
  const name = `pool-${randomUUID().slice(0, 8)}`;
  await api.createWorkPool(name, fields);
  return name;
}

/** Deploys a fixture flow to the pool; gives the deployment's id. */
export async function deploy(
  api: PrefectApi,
  pool: string,
  flow: FixtureFlow,
  options: { jobVariables?: JsonObject; workQueue?: string; entrypoint?: string } = {},
): Promise<string> {
  return await api.createDeployment({
    flowName: flow,
    name: `${flow}-${randomUUID().slice(0, 8)}`,
    workPool: pool,
    path: inCheckout("test/fixtures/flows"),
    entrypoint: options.entrypoint ?? `${flow}.py:${flow}`,
    ...options,
  });
}

/** The command line of a program of test/fixtures/programs. */
export function programCommand(name: string, ...args: string[]): string {
  return [process.execPath, inCheckout(`test/fixtures/programs/${name}`), ...args].join(" ");
}
