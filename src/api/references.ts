// Block documents and variables that a base job template refers to.
// Source: prefect client/orchestration/_blocks_documents and _variables.
import type { Api } from "./api.ts";
import { hasStatus } from "./errors.ts";
import { fieldOf } from "./exact-places.ts";
import type { RequestOptions } from "./request-options.ts";
import { blockDocumentShape, variableShape } from "./shapes.ts";
import type { Json, JsonObject } from "./wire.ts";

/** Returns the data of a block document, with its secrets in plain text. Throws ApiError 404 if it does not exist. */
export async function readBlockDocument(
  api: Api,
  typeSlug: string,
  name: string,
  options?: RequestOptions,
): Promise<JsonObject> {
  const path = `/block_types/slug/${encodeURIComponent(typeSlug)}/block_documents/name/${encodeURIComponent(name)}`;
  const document = (await api.request("GET", `${path}?include_secrets=true`, {
    ...options,
    shape: blockDocumentShape,
    exact: fieldOf("data"),
  })) as JsonObject;
  return document.data as JsonObject;
}

/**
 * Returns the data of the block document with this id, with its secrets in plain text. Throws ApiError 404 if it does
 * not exist.
 */
export async function readBlockDocumentById(api: Api, id: string, options?: RequestOptions): Promise<JsonObject> {
  const path = `/block_documents/${encodeURIComponent(id)}?include_secrets=true`;
  const document = (await api.request("GET", path, {
    ...options,
    shape: blockDocumentShape,
    exact: fieldOf("data"),
  })) as JsonObject;
  return document.data as JsonObject;
}

/** Returns the value of a variable, or undefined if it does not exist. */
export async function findVariable(api: Api, name: string, options?: RequestOptions): Promise<Json | undefined> {
  try {
    const variable = (await api.request("GET", `/variables/name/${encodeURIComponent(name)}`, {
      ...options,
      shape: variableShape,
      exact: fieldOf("value"),
    })) as JsonObject;
    return variable.value ?? null;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}
