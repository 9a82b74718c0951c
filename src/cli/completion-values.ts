// The values that can be completed: names from the server, profiles and settings.
import type { Api } from "../api/api.ts";
import type { Json, JsonObject } from "../api/wire.ts";
import { poolTypeNames } from "../infrastructure/pool-type-names.ts";
import { catalogue } from "../settings/catalogue.ts";
import { locateProfile } from "../settings/load.ts";
import { findProfiles } from "../settings/profiles.ts";
import { openApi } from "./open-api.ts";
import { settingsInput, withProgram } from "./program-context.ts";

/** How long the server may take. A person waits for it. */
const serverTimeoutMs = 500;

/** What can be completed. */
export type ValueKind = "pool" | "queue" | "worker" | "deployment" | "profile" | "poolType" | "setting" | "assignment";

/** What was given before on the same command line. */
export interface GivenNames {
  profile: string | undefined;
  pools: readonly string[];
}

/** Returns the values of that kind. Returns none if they are not known, for example because the server does not respond. */
export async function valuesOf(kind: ValueKind, given: GivenNames): Promise<readonly string[]> {
  switch (kind) {
    case "poolType":
      return poolTypeNames;
    case "profile":
      return Object.keys(findProfiles(locateProfile(settingsInput({})).file)?.profiles ?? {});
    case "setting":
    case "assignment": {
      const names = [...catalogue().byPath.values()].map(({ name }) => name).sort();
      return kind === "setting" ? names : names.map((name) => `${name}=`);
    }
    case "pool":
    case "queue":
    case "worker":
    case "deployment":
      return await namesFromServer(kind, given);
  }
}

async function namesFromServer(
  kind: "pool" | "queue" | "worker" | "deployment",
  { profile, pools }: GivenNames,
): Promise<string[]> {
  const signal = AbortSignal.timeout(serverTimeoutMs);
  let names: string[] = [];
  await withProgram({ profile, quiet: true }, async (program) => {
    using open = await openApi(program, undefined, signal);
    names = await readers[kind](open.api, pools, signal);
  });
  return names;
}

type NameReader = (api: Api, pools: readonly string[], signal: AbortSignal) => Promise<string[]>;

const readers: Readonly<Record<"pool" | "queue" | "worker" | "deployment", NameReader>> = {
  pool: async (api, _pools, signal) => await readNames(api, "/work_pools/filter", signal),
  queue: async (api, pools, signal) => await readOfPools(api, pools, "queues", signal),
  worker: async (api, pools, signal) => await readOfPools(api, pools, "workers", signal),
  deployment: readDeployments,
};

async function readOfPools(
  api: Api,
  pools: readonly string[],
  what: "queues" | "workers",
  signal: AbortSignal,
): Promise<string[]> {
  const paths = pools.map((pool) => `/work_pools/${encodeURIComponent(pool)}/${what}/filter`);
  const names = await Promise.all(paths.map((path) => readNames(api, path, signal)));
  return [...new Set(names.flat())];
}

/** Returns deployments as `flow/deployment`. */
async function readDeployments(api: Api, _pools: readonly string[], signal: AbortSignal): Promise<string[]> {
  const deployments = await readList(api, "/deployments/filter", {}, signal);
  const ids = [...new Set(deployments.map(({ flow_id }) => flow_id as string))];
  const flows = await readList(api, "/flows/filter", { flows: { id: { any_: ids } } }, signal);
  const flowNames = new Map(flows.map(({ id, name }) => [id, name]));
  return deployments.map(({ flow_id, name }) => `${flowNames.get(flow_id as string)}/${name}`);
}

async function readNames(api: Api, path: string, signal: AbortSignal): Promise<string[]> {
  return (await readList(api, path, {}, signal)).map(({ name }) => String(name));
}

async function readList(api: Api, path: string, body: Json, signal: AbortSignal): Promise<JsonObject[]> {
  const list = await api.request("POST", path, { body, signal });
  return Array.isArray(list) ? (list as JsonObject[]) : [];
}
