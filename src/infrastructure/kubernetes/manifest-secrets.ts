// Moves secrets from the environment of a Job into secrets of the cluster. Pure; `create-job.ts` creates them.
// Source: prefect_kubernetes/worker.py _create_job, _store_env_as_secret.
import type { JsonObject } from "../../api/wire.ts";
import { flowRunLabel } from "./job-labels.ts";
import { containerOf, type EnvEntry, withContainer } from "./kubernetes-job.ts";
import type { SecretKey } from "./settings.ts";
import { toName } from "./slugs.ts";

/** The key of a secret that the worker creates for one value. */
const onlyKey = "value";

/** Returns the name of the secret with the API key that a worker creates. */
export async function apiKeySecretOf(workerName: string): Promise<SecretKey> {
  return { name: `prefect-${await toName(workerName)}-api-key`, key: onlyKey };
}

/** Returns the manifest of a secret with one value. */
export function secretManifest({ name, key }: SecretKey, value: string): JsonObject {
  return { apiVersion: "v1", kind: "Secret", metadata: { name }, data: { [key]: toBase64(value) } };
}

/** Returns the plain value of a variable of the flow run's container; undefined if it has none. */
export function plainValueOf(manifest: JsonObject, name: string): string | undefined {
  const value = environmentOf(manifest).find((entry) => entry.name === name)?.value;
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Returns the manifest with a variable that refers to a secret. Without that variable, it stays as it is. */
export function withReference(manifest: JsonObject, variable: string, { name, key }: SecretKey): JsonObject {
  const reference = { name: variable, valueFrom: { secretKeyRef: { name, key } } };
  return withEnvironment(
    manifest,
    environmentOf(manifest).map((entry) => (entry.name === variable ? reference : entry)),
  );
}

/** A manifest whose variables are in a secret, and the manifest and the name of that secret. */
export interface SplitManifest {
  readonly manifest: JsonObject;
  readonly secret: JsonObject;
  readonly secretName: string;
}

/** Moves all plain variables into a secret. Returns null if there are none. */
export function splitEnvironment(manifest: JsonObject): SplitManifest | null {
  const entries = environmentOf(manifest);
  const plain = entries.filter(({ value, valueFrom }) => valueFrom === undefined && typeof value === "string");
  if (plain.length === 0) return null;
  const { name, labels } = manifest.metadata as JsonObject;
  const flowRunId = (labels as JsonObject | undefined)?.[flowRunLabel];
  const secretName = `${name}-env`;
  const container = containerOf(manifest);
  const before = Array.isArray(container.envFrom) ? container.envFrom : [];
  return {
    manifest: withContainer(manifest, {
      ...container,
      env: entries.filter((entry) => entry.valueFrom !== undefined),
      envFrom: [...before, { secretRef: { name: secretName } }],
    }),
    secretName,
    secret: {
      apiVersion: "v1",
      kind: "Secret",
      metadata: {
        name: secretName,
        labels: {
          "app.kubernetes.io/managed-by": "prefect",
          ...(flowRunId !== undefined && { [flowRunLabel]: flowRunId }),
        },
      },
      data: Object.fromEntries(plain.map((entry) => [entry.name as string, toBase64(entry.value as string)])),
    },
  };
}

/** Returns the change that lets the secret be deleted together with its Job. */
export function ownedBy(job: { readonly name: string; readonly uid: string }): JsonObject {
  const owner = { apiVersion: "batch/v1", kind: "Job", name: job.name, uid: job.uid };
  return { metadata: { ownerReferences: [owner] } };
}

function environmentOf(manifest: JsonObject): EnvEntry[] {
  const { env } = containerOf(manifest);
  return Array.isArray(env) ? (env as EnvEntry[]) : [];
}

function withEnvironment(manifest: JsonObject, env: EnvEntry[]): JsonObject {
  return withContainer(manifest, { ...containerOf(manifest), env });
}

function toBase64(text: string): string {
  return Buffer.from(text).toString("base64");
}
