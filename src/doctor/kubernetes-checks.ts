// Checks for a kubernetes work pool: the cluster, the permissions in each namespace, and the URL that pods get.
import { readBlockDocument, readBlockDocumentById } from "../api/references.ts";
import type { Json, JsonObject } from "../api/wire.ts";
import { Cluster } from "../infrastructure/kubernetes/cluster/cluster.ts";
import {
  ClusterConfigError,
  ClusterError,
  ClusterUnreachableError,
} from "../infrastructure/kubernetes/cluster/cluster-error.ts";
import { findCluster } from "../infrastructure/kubernetes/cluster/find-cluster.ts";
import { type CallOptions, isAllowed, readObject, readVersion } from "../infrastructure/kubernetes/cluster/objects.ts";
import { Outage } from "../infrastructure/kubernetes/cluster/outage.ts";
import { namespaces } from "../infrastructure/kubernetes/cluster/resources.ts";
import { describeRule, type Rule, rulesFor } from "../infrastructure/kubernetes/permissions.ts";
import { type KubernetesSettings, readSettings } from "../infrastructure/kubernetes/settings.ts";
import { defaultJobFields } from "../job/job-fields.ts";
import { isJsonObject, resolveBlocks } from "../job/template.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

const clusterName = "Kubernetes cluster";
const permissionsName = "Kubernetes permissions";
const urlName = "API URL in pods";

/** The time limit of one question, below that of the whole doctor. */
const limitMs = 3_000;

/** The checks. They find nothing for a work pool of another type. */
export const kubernetesChecks: readonly Check[] = [{ name: clusterName, run: checkKubernetes }];

async function checkKubernetes(examination: Examination): Promise<Finding[]> {
  const { env, signal } = examination;
  const pool = await examination.workPool;
  if (pool?.type !== "kubernetes") return [];
  const fields = defaultJobFields(pool, env);
  const url = await checkApiUrl(fields, examination);
  const options = { signal, limitMs, retries: 0 };
  try {
    using cluster = await openCluster(fields, examination);
    const version = await readVersion(cluster, options);
    const { server, origin } = cluster.access;
    const reached = pass(clusterName, `${version} at ${server}, by ${origin}`);
    const settings = readSettings({ ...env, ...examination.settings.integrations });
    const names = namespacesOf(fields, settings);
    const permissions = await Promise.all(names.map((name) => checkNamespace(cluster, name, settings, options)));
    return [reached, ...permissions, url];
  } catch (error) {
    if (
      error instanceof ClusterError ||
      error instanceof ClusterUnreachableError ||
      error instanceof ClusterConfigError
    ) {
      return [fail(clusterName, error.message, null), url];
    }
    throw error;
  }
}

/** Opens the cluster that the work pool names, or the usual one. A job variable may name another one. */
async function openCluster({ cluster_config: block = null }: JsonObject, examination: Examination): Promise<Cluster> {
  const { env, signal } = examination;
  const { api } = await examination.access;
  const { resolved = null } = await resolveBlocks(
    { resolved: block },
    {
      readBlockDocument: (slug, name) => readBlockDocument(api, slug, name, { signal }),
      readBlockDocumentById: (id) => readBlockDocumentById(api, id, { signal }),
      findVariable: async () => undefined,
    },
  );
  const access = await findCluster(resolved, { environment: env, hide: () => {} });
  return new Cluster(access, new Outage({ info: () => {}, warn: () => {} }), env);
}

/** Returns the namespaces of the work pool and of the settings. */
function namespacesOf({ namespace }: JsonObject, settings: KubernetesSettings): string[] {
  const ofPool = typeof namespace === "string" && namespace !== "" ? namespace : "default";
  return [...new Set([ofPool, ...settings.namespaces])];
}

async function checkNamespace(
  cluster: Cluster,
  namespace: string,
  { apiKeySecret, createsApiKeySecret, storesEnvironment }: KubernetesSettings,
  options: CallOptions,
): Promise<Finding> {
  // Most workers may not read namespaces. Then a missing one is not noticed here.
  const isThere = await readObject(cluster, namespaces, null, namespace, options).then(
    () => true,
    (error: unknown) => !(error instanceof ClusterError && error.status === 404),
  );
  if (!isThere) {
    return fail(
      permissionsName,
      `namespace '${namespace}' does not exist`,
      "Create it, or set another one in the work pool.",
    );
  }
  const rules = rulesFor({ createsApiKeySecret: createsApiKeySecret && apiKeySecret === null, storesEnvironment });
  const missing = (await Promise.all(rules.map((rule) => findMissing(cluster, namespace, rule, options)))).flat();
  const place = `namespace '${namespace}'`;
  if (missing.length === 0) return pass(permissionsName, `${place}: all`);
  const message = `${place}: may not ${missing.map(({ words }) => words).join(", ")}`;
  const losses = missing.flatMap(({ rule: { loss } }) => (loss === null ? [] : [loss]));
  const role = missing.map(({ text }) => text).join(", ");
  const advice = `Add to a Role of this namespace that is bound to this user: ${role}.`;
  if (losses.length < missing.length) return fail(permissionsName, message, advice);
  return warn(permissionsName, message, [...losses, advice].join(" "));
}

interface Missing {
  readonly rule: Rule;
  /** Such as `create jobs`. */
  readonly words: string;
  /** The rule to add. */
  readonly text: string;
}

async function findMissing(cluster: Cluster, namespace: string, rule: Rule, options: CallOptions): Promise<Missing[]> {
  const { resource, subresource, verbs } = rule;
  const subject = { namespace, resource, ...(subresource !== undefined && { subresource }) };
  const answers = await Promise.all(verbs.map((verb) => isAllowed(cluster, { ...subject, verb }, options)));
  const refused = verbs.filter((_, index) => !answers[index]);
  if (refused.length === 0) return [];
  const name = subresource === undefined ? resource.plural : `${resource.plural}/${subresource}`;
  return [{ rule, words: `${refused.join("/")} ${name}`, text: describeRule(rule, refused) }];
}

/** Checks the URL that pods get by the defaults of the work pool. A job variable may say something else. */
async function checkApiUrl({ env }: JsonObject, { access }: Examination): Promise<Finding> {
  const given: Json | undefined = isJsonObject(env) ? env.PREFECT_API_URL : undefined;
  const apiUrl = typeof given === "string" ? given : (await access).connection.apiUrl;
  if (!/^https?:\/\/(localhost|127\.|\[::1\])/.test(apiUrl)) return pass(urlName, apiUrl);
  return warn(
    urlName,
    `${apiUrl} is the pod itself, and not this machine`,
    "Let the API listen on an address that pods reach. Set PREFECT_API_URL to it, here or in the env of the work pool.",
  );
}
