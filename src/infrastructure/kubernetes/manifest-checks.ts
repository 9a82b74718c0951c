// Checks a Job manifest as the reference does. Source: prefect_kubernetes/worker.py _validate_job_manifest.
import type { Json, JsonObject } from "../../api/wire.ts";
import { isJsonObject } from "../../job/template.ts";
import { JobConfigurationError } from "../../job/typed-fields.ts";
import { pythonRepr } from "../../python-text.ts";

/** What each manifest must contain. */
const required: JsonObject = {
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { annotations: {}, labels: {} },
  spec: {
    template: {
      spec: { parallelism: 1, completions: 1, restartPolicy: "Never", containers: [{ name: "prefect-job" }] },
    },
  },
};

/** Returns the manifest with metadata that names the namespace. Throws JobConfigurationError. */
export function checkManifest(given: JsonObject, namespace: string): JsonObject {
  const metadata = given.metadata === undefined ? {} : given.metadata;
  const manifest = isJsonObject(metadata)
    ? { ...given, metadata: { annotations: {}, labels: {}, namespace, ...metadata } }
    : given;
  const missing: string[] = [];
  const incompatible: string[] = [];
  compare(manifest, required, "", { missing, incompatible });
  if (missing.length > 0) {
    throw new JobConfigurationError(
      `Job is missing required attributes at the following paths: ${missing.sort().join(", ")}`,
    );
  }
  if (incompatible.length > 0) {
    throw new JobConfigurationError(
      `Job has incompatible values for the following attributes: ${incompatible.sort().join(", ")}`,
    );
  }
  return manifest;
}

function compare(
  found: Json,
  expected: Json,
  path: string,
  problems: { readonly missing: string[]; readonly incompatible: string[] },
): void {
  if (isCollection(expected) && isCollection(found) && Array.isArray(found) === Array.isArray(expected)) {
    const fields = found as JsonObject;
    for (const [key, value] of Object.entries(expected)) {
      const item = fields[key];
      if (item === undefined) problems.missing.push(`${path}/${key}`);
      else compare(item, value, `${path}/${key}`, problems);
    }
  } else if (!isSame(found, expected)) {
    problems.incompatible.push(`${path} must have value ${pythonRepr(expected)}`);
  }
}

function isCollection(value: Json): value is Json[] | JsonObject {
  return Array.isArray(value) || isJsonObject(value);
}

/** A number that keeps its text is the same as a plain one. */
function isSame(found: Json, expected: Json): boolean {
  return typeof expected === "number" && typeof found === "object" ? Number(found) === expected : found === expected;
}
