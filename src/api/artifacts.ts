// Routes of artifacts. Source: prefect client/orchestration/_artifacts/client.py, server/api/artifacts.py.
import type { Api } from "./api.ts";
import { listOf, object, text } from "./json-check.ts";
import type { RequestOptions } from "./request-options.ts";
import type { Json } from "./wire.ts";

/** An artifact of a flow run. `data` of a table is a text of JSON, and that of progress a number from 0 to 100. */
export interface NewArtifact {
  readonly type: "markdown" | "table" | "progress";
  /** Small letters, digits and hyphens. Null for an artifact without versions. */
  readonly key: string | null;
  readonly description: string | null;
  readonly data: Json;
  readonly flow_run_id: string;
}

const artifact = object({ id: text });

/** Creates an artifact and returns its id. Throws the errors of `Api.request`. */
export async function createArtifact(api: Api, body: NewArtifact, options?: RequestOptions): Promise<string> {
  const created = await api.request("POST", "/artifacts/", { ...options, shape: artifact, body: { ...body } });
  return (created as { id: string }).id;
}

/** Replaces the data of an artifact. Throws the errors of `Api.request`. */
export async function updateArtifact(api: Api, id: string, data: Json, options?: RequestOptions): Promise<void> {
  await api.request("PATCH", `/artifacts/${id}`, { ...options, body: { data } });
}

/** Returns the id of the newest progress artifact of a flow run, or undefined. Throws the errors of `Api.request`. */
export async function findProgressArtifact(
  api: Api,
  flowRunId: string,
  options?: RequestOptions,
): Promise<string | undefined> {
  const filter = { flow_run_id: { any_: [flowRunId] }, type: { any_: ["progress"] } };
  const found = (await api.request("POST", "/artifacts/filter", {
    ...options,
    shape: listOf(artifact),
    body: { artifacts: filter, sort: "CREATED_DESC", limit: 1, offset: 0 },
  })) as { id: string }[];
  return found[0]?.id;
}
