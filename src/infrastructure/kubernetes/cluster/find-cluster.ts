// Finds a cluster, as the reference does: the block of the work pool, the cluster of this pod, then the kubeconfig.
// Source: prefect_kubernetes/worker.py _get_configured_kubernetes_client; kubernetes_asyncio config.
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import type { ProxyAddress } from "../../../api/connection-options.ts";
import type { Json } from "../../../api/wire.ts";
import { isJsonObject } from "../../../job/template.ts";
import { chooseProxy, urlSecrets } from "../../../settings/proxy.ts";
import type { ClusterAccess, ClusterServices, Environment } from "./cluster-access.ts";
import { ClusterConfigError } from "./cluster-error.ts";
import {
  blockKubeconfig,
  contentOf,
  type Entry,
  findContext,
  type Kubeconfig,
  readKubeconfig,
  readNeeded,
  textOf,
} from "./kubeconfig.ts";
import { UserCredentials } from "./user-credentials.ts";

type Services = Pick<ClusterServices, "environment" | "hide">;

/** Where Kubernetes puts the files of a pod's service account. */
export const serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Returns how to reach the cluster of a block's data, or for null that of this pod or of the kubeconfig. Reads files, and
 * sends no request. Throws ClusterConfigError.
 */
export async function findCluster(
  block: Json,
  services: Services,
  directory = serviceAccountDirectory,
): Promise<ClusterAccess> {
  if (block !== null) {
    const { config, context_name: name } = isJsonObject(block) ? block : {};
    return await ofContext(() => blockKubeconfig(config), typeof name === "string" ? name : "", services);
  }
  const { environment } = services;
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (host && port && existsSync(join(directory, "token"))) return await inCluster(host, port, directory, services);
  return await ofContext(() => readKubeconfig(kubeconfigFiles(environment)), "", services);
}

function kubeconfigFiles({ KUBECONFIG, HOME }: Environment): string[] {
  const named = (KUBECONFIG ?? "").split(delimiter).filter(Boolean);
  return named.length > 0 ? named : [join(HOME || homedir(), ".kube", "config")];
}

async function inCluster(host: string, port: string, directory: string, services: Services): Promise<ClusterAccess> {
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const origin = "the service account of this pod";
  const user: Entry = { fields: { tokenFile: "token" }, directory };
  const cluster: Entry = { fields: {}, directory };
  const namespace = join(directory, "namespace");
  return {
    server,
    tls: {
      ca: await readNeeded(join(directory, "ca.crt"), `certificate authority of ${origin}`),
      rejectUnauthorized: true,
    },
    proxy: undefined,
    namespace: existsSync(namespace) ? readFileSync(namespace, "utf8").trim() : null,
    origin,
    headers: {},
    credentials: new UserCredentials({
      ...services,
      server,
      cluster,
      origin,
      readUser: async () => user,
      hide: services.hide,
    }),
  };
}

async function ofContext(read: () => Promise<Kubeconfig>, name: string, services: Services): Promise<ClusterAccess> {
  const { origin, namespace, cluster, user } = findContext(await read(), name);
  const { fields } = cluster;
  const server = serverOf(cluster, origin);
  const servername = textOf(fields, "tls-server-name");
  return {
    server,
    tls: {
      ca: await contentOf(cluster, "certificate-authority", origin),
      rejectUnauthorized: fields["insecure-skip-tls-verify"] !== true,
      ...(servername !== undefined && { servername }),
    },
    proxy: proxyOf(cluster, server, origin, services),
    namespace,
    origin,
    headers: impersonation(user, origin),
    credentials: new UserCredentials({
      server,
      cluster,
      origin,
      environment: services.environment,
      hide: services.hide,
      readUser: async () => findContext(await read(), name).user,
    }),
  };
}

function serverOf({ fields }: Entry, origin: string): string {
  const server = textOf(fields, "server") ?? "";
  if (/^https?:\/\//i.test(server) && URL.canParse(server)) return server.replace(/\/+$/, "");
  throw new ClusterConfigError(
    `The server '${server}' of ${origin} is no URL. Set one like https://cluster.example.com:6443.`,
  );
}

function proxyOf({ fields }: Entry, server: string, origin: string, { hide }: Services): ProxyAddress | undefined {
  const text = textOf(fields, "proxy-url");
  if (text === undefined) return undefined;
  hide(urlSecrets(text));
  const url = new URL(server);
  try {
    const choice = chooseProxy(url, { [url.protocol === "https:" ? "https_proxy" : "http_proxy"]: text });
    return choice && { ...choice, variable: `proxy-url of ${origin}` };
  } catch (error) {
    const problem = (error as Error).message.replace(/^\w+: /, "");
    throw new ClusterConfigError(`The proxy-url of ${origin} cannot be used: ${problem}.`, { cause: error });
  }
}

/** Acting as somebody else. Several groups would need a header for each. */
function impersonation(user: Entry | null, origin: string): Record<string, string> {
  const fields = user?.fields ?? {};
  const groups = Array.isArray(fields["as-groups"]) ? fields["as-groups"].map(String) : [];
  if (groups.length > 1 || fields["as-user-extra"] !== undefined) {
    throw new ClusterConfigError(
      `The user of ${origin} impersonates with several groups or extra fields, which lictor does not send. Use one group at most.`,
    );
  }
  const headers = {
    "Impersonate-User": textOf(fields, "as"),
    "Impersonate-Uid": textOf(fields, "as-uid"),
    "Impersonate-Group": groups[0],
  };
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
