// Creates the Job of a flow run, and the secrets that it refers to. Source: prefect_kubernetes/worker.py _create_job.
import type { JsonObject } from "../../api/wire.ts";
import { timeoutSignal } from "../../async/clock.ts";
import { SecretTexts } from "../../secret-texts.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { ClusterError, ClusterUnreachableError, isExisting, isMissing } from "./cluster/cluster-error.ts";
import { createObject, deleteObject, patchObject, replaceObject } from "./cluster/objects.ts";
import { type JobObject, secrets } from "./cluster/resources.ts";
import { type Creation, createOrFind, findOwn, hasHadPod, isOfAttempt, JobGoneError } from "./create-once.ts";
import { toJobManifest } from "./job-manifest.ts";
import { logOf } from "./kubernetes.ts";
import type { KubernetesJob } from "./kubernetes-job.ts";
import {
  apiKeySecretOf,
  ownedBy,
  plainValueOf,
  secretManifest,
  splitEnvironment,
  withReference,
} from "./manifest-secrets.ts";
import { whileAway } from "./while-away.ts";

/** A Job that cannot be created. State messages begin with the name, as those of the reference do. */
export class JobCreationError extends Error {
  override readonly name = "InfrastructureError";
  /** The message says all. The log of a flow run would show where in lictor it was made. */
  override readonly stack = `${this.name}: ${this.message}`;
}

/** The time limit for looking at what a failed creation left, and for removing it. */
const removalMs = 30_000;

/**
 * Creates the Job, or finds the one that an earlier request created. Waits while the cluster is away. If it throws, it has
 * removed what it created. Throws JobCreationError, JobGoneError, ClusterConfigError, ApiError and the reason of the signal.
 */
export async function createJob(creation: Creation): Promise<JobObject> {
  const { kubernetes, job, facts, signal } = creation;
  const log = logOf(kubernetes, facts.flowRunId);
  log.info("Creating Kubernetes job...");
  const prepared = await withSecrets(creation, await toJobManifest(job, facts));
  const split = kubernetes.settings.storesEnvironment ? splitEnvironment(prepared) : null;
  const manifest = split?.manifest ?? prepared;
  let created: JobObject;
  try {
    if (split) await createSecret(creation, split.secret);
    created = await createOrFind(creation, manifest);
    if (!isOfAttempt(created, facts)) throw new JobCreationError(notOurs(created, job));
  } catch (error) {
    // An earlier request may have created it without a response, and then even a refusal says nothing. Its program may have begun.
    // So it is dealt with as any other, even if its flow run is to be stopped.
    const limit = timeoutSignal(removalMs);
    const existing = await findOwn(creation, manifest, limit);
    if (existing === null) {
      if (await hasHadPod(creation, manifest, limit).catch(() => false)) throw new JobGoneError(manifest);
      if (split) await removeSecret(creation, split.secretName);
      signal.throwIfAborted();
      throw explained(error, job);
    }
    created = existing;
  }
  if (split) await giveToJob(creation, split.secretName, created);
  log.info(`Kubernetes job '${created.metadata.name}' created in namespace '${job.namespace}'`);
  return created;
}

/** Creates a secret, unless an earlier request or another worker has. It has the same content then. */
async function createSecret(creation: Creation, manifest: JsonObject): Promise<void> {
  const { cluster, job, signal } = creation;
  try {
    await whileAway(creation, () => createObject(cluster, secrets, job.namespace, manifest, { signal, retries: 0 }));
  } catch (error) {
    if (!isExisting(error)) throw error;
  }
}

function notOurs({ metadata }: JobObject, { namespace }: KubernetesJob): string {
  return `Unable to create Kubernetes job: '${metadata.name}' exists in namespace '${namespace}' and belongs to something else. Delete it, or choose another name.`;
}

let isAuthStringSaid = false;

/** Returns the manifest with references to the secrets that the settings name. */
async function withSecrets(creation: Creation, manifest: JsonObject): Promise<JsonObject> {
  const { kubernetes, job } = creation;
  const { apiKeySecret, createsApiKeySecret, authStringSecret } = kubernetes.settings;
  let changed = manifest;
  const apiKey = plainValueOf(manifest, "PREFECT_API_KEY");
  if (apiKeySecret) changed = withReference(changed, "PREFECT_API_KEY", apiKeySecret);
  else if (createsApiKeySecret && apiKey !== undefined) {
    const secret = await apiKeySecretOf(job.workerName);
    await storeApiKey(creation, secret.name, secretManifest(secret, apiKey));
    changed = withReference(changed, "PREFECT_API_KEY", secret);
  }
  if (authStringSecret) return withReference(changed, "PREFECT_API_AUTH_STRING", authStringSecret);
  if (!isAuthStringSaid && plainValueOf(manifest, "PREFECT_API_AUTH_STRING") !== undefined) {
    isAuthStringSaid = true;
    kubernetes.services.log.warn(
      "The manifests of Jobs contain PREFECT_API_AUTH_STRING. Put it into a secret of the cluster, and name that in PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME and …_KEY.",
    );
  }
  return changed;
}

/** The secrets that have this program's API key, by cluster, with the manifest that they were given. */
const stored = new WeakMap<Cluster, Map<string, string>>();

/** Stores the API key, once until it changes. It stays at the end of the worker, because Jobs may still need it. */
async function storeApiKey(creation: Creation, name: string, manifest: JsonObject): Promise<void> {
  const { cluster, job, signal } = creation;
  const known = stored.get(cluster) ?? new Map<string, string>();
  stored.set(cluster, known);
  const place = `${job.namespace}/${name}`;
  const text = JSON.stringify(manifest);
  if (known.get(place) === text) return;
  try {
    await whileAway(creation, async () => {
      try {
        await replaceObject(cluster, secrets, job.namespace, name, manifest, { signal, retries: 0 });
      } catch (error) {
        if (!isMissing(error)) throw error;
        // Another worker of this name may be faster, and it has the same key.
        await createSecret(creation, manifest);
      }
    });
  } catch (error) {
    signal.throwIfAborted();
    throw explained(error, job);
  }
  known.set(place, text);
}

/** Lets the cluster delete the secret together with the Job. */
async function giveToJob(creation: Creation, secretName: string, { metadata }: JobObject): Promise<void> {
  const { kubernetes, cluster, job, facts, signal } = creation;
  try {
    await patchObject(cluster, secrets, job.namespace, secretName, ownedBy(metadata), { signal });
  } catch (error) {
    logOf(kubernetes, facts.flowRunId).warn(
      `Secret '${secretName}' stays when its Job is deleted: ${(error as Error).message}`,
    );
  }
}

/** Removes the secret that a failed creation left. */
async function removeSecret({ kubernetes, cluster, job }: Creation, name: string): Promise<void> {
  try {
    await deleteObject(cluster, secrets, job.namespace, name, { signal: timeoutSignal(removalMs) });
  } catch (error) {
    kubernetes.services.log.debug({ err: error }, "What was created for a flow run could not be removed");
  }
}

/** Returns the error with a message in words, and without the environment, which a webhook or a proxy may repeat. */
function explained(error: unknown, job: KubernetesJob): unknown {
  if (!(error instanceof ClusterError || error instanceof ClusterUnreachableError)) return error;
  const environment = new SecretTexts();
  const shown = JSON.stringify(job.manifest);
  const values = job.environment.reveal().map(({ value }) => value);
  environment.add(values.filter((value): value is string => typeof value === "string" && !shown.includes(value)));
  return new JobCreationError(`Unable to create Kubernetes job: ${environment.redact(error.message)}`);
}
