// Reads kubeconfigs. Source: Kubernetes client-go, tools/clientcmd: loader.go, client_config.go and api/v1/types.go.
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Json, JsonObject } from "../../../api/wire.ts";
import { isJsonObject } from "../../../job/template.ts";
import { systemCode } from "../../../process/system-errors.ts";
import { ClusterConfigError } from "./cluster-error.ts";

/** An entry of a kubeconfig, and the directory that its relative paths begin at. */
export interface Entry {
  readonly fields: JsonObject;
  readonly directory: string;
}

/** One or several kubeconfigs. Of entries of the same name, the first one counts. */
export interface Kubeconfig {
  /** Where it is, for messages. */
  readonly place: string;
  readonly currentContext: string;
  readonly clusters: ReadonlyMap<string, Entry>;
  readonly users: ReadonlyMap<string, Entry>;
  readonly contexts: ReadonlyMap<string, Entry>;
}

/** What a context names. */
export interface Context {
  /** Such as `the context 'prod' of /root/.kube/config`. */
  readonly origin: string;
  readonly namespace: string | null;
  readonly cluster: Entry;
  /** Null for an anonymous user. */
  readonly user: Entry | null;
}

/** Reads the files that exist. Throws ClusterConfigError if none does, or if one cannot be read. */
export async function readKubeconfig(files: readonly string[]): Promise<Kubeconfig> {
  const found: Kubeconfig[] = [];
  for (const file of files) {
    const text = await readIfThere(file);
    if (text !== null) found.push(toKubeconfig(await parse(text, file), file, dirname(resolve(file))));
  }
  if (found.length === 0) {
    throw new ClusterConfigError(
      `No Kubernetes cluster is configured: ${files.join(" and ")} ${files.length > 1 ? "do" : "does"} not exist, and lictor runs in no pod with a service account. Set KUBECONFIG, or give the work pool a cluster_config block.`,
    );
  }
  const merge = (entriesOf: (config: Kubeconfig) => ReadonlyMap<string, Entry>): Map<string, Entry> =>
    new Map([...found].reverse().flatMap((config) => [...entriesOf(config)]));
  return {
    place: found.map(({ place }) => place).join(" and "),
    currentContext: found.find(({ currentContext }) => currentContext !== "")?.currentContext ?? "",
    clusters: merge(({ clusters }) => clusters),
    users: merge(({ users }) => users),
    contexts: merge(({ contexts }) => contexts),
  };
}

/** Returns the kubeconfig of a block: an object, or text in YAML or JSON. Throws ClusterConfigError. */
export async function blockKubeconfig(config: Json | undefined): Promise<Kubeconfig> {
  const place = "the cluster_config block";
  return toKubeconfig(typeof config === "string" ? await parse(config, place) : config, place, ".");
}

/** Returns what the context names; the current one if `name` is empty. Throws ClusterConfigError. */
export function findContext(config: Kubeconfig, name: string): Context {
  const { place, contexts, clusters, users } = config;
  const wanted = name || config.currentContext;
  const names = [...contexts.keys()].join(", ") || "none";
  if (wanted === "") {
    throw new ClusterConfigError(
      `${place} has no current context. Choose one with \`kubectl config use-context NAME\`. It has: ${names}.`,
    );
  }
  const context = contexts.get(wanted)?.fields;
  if (!context) throw new ClusterConfigError(`The context '${wanted}' is not in ${place}. It has: ${names}.`);
  const origin = `the context '${wanted}' of ${place}`;
  const clusterName = textOf(context, "cluster") ?? "";
  const cluster = clusters.get(clusterName);
  if (!cluster)
    throw new ClusterConfigError(`The cluster '${clusterName}', which ${origin} names, is not there. Add it.`);
  const userName = textOf(context, "user") ?? "";
  const user = users.get(userName) ?? null;
  if (!user && userName !== "")
    throw new ClusterConfigError(`The user '${userName}', which ${origin} names, is not there. Add it.`);
  return { origin, namespace: textOf(context, "namespace") ?? null, cluster, user };
}

/** Returns a text of the entry; undefined if it is missing or empty. YAML may have read a number. */
export function textOf(fields: JsonObject, key: string): string | undefined {
  const value = fields[key];
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value !== "" ? value : undefined;
}

/**
 * Returns what the entry has in `<key>-data` in base64, or in the file `<key>`. Throws ClusterConfigError if the file cannot
 * be read.
 */
export async function contentOf(
  { fields, directory }: Entry,
  key: string,
  origin: string,
): Promise<string | undefined> {
  const data = textOf(fields, `${key}-data`);
  if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
  const file = textOf(fields, key);
  return file === undefined ? undefined : await readNeeded(resolve(directory, file), `${key} of ${origin}`);
}

/** Returns the text of a file. Throws ClusterConfigError, which says that `what` names the file. */
export async function readNeeded(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new ClusterConfigError(`${file}, the ${what}, cannot be read (${systemCode(error)}). Correct it.`, {
      cause: error,
    });
  }
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return null;
    throw new ClusterConfigError(`${file} cannot be read (${systemCode(error)}). Correct KUBECONFIG or the file.`, {
      cause: error,
    });
  }
}

async function parse(text: string, place: string): Promise<Json> {
  try {
    // Most are YAML. JSON needs no parser of YAML, and some tools write it.
    if (text.trimStart().startsWith("{")) return JSON.parse(text) as Json;
  } catch {
    // YAML has braces too.
  }
  try {
    return (await import("./parse-yaml.ts")).parseYaml(text) as Json;
  } catch (error) {
    throw new ClusterConfigError(`${place} is no valid YAML: ${(error as Error).message}. Correct it.`);
  }
}

function toKubeconfig(value: Json | undefined, place: string, directory: string): Kubeconfig {
  if (!isJsonObject(value))
    throw new ClusterConfigError(`${place} is no kubeconfig: an object is expected. Correct it.`);
  const entries = (list: string, key: string): Map<string, Entry> => {
    const items = Array.isArray(value[list]) ? value[list] : [];
    // Of two entries in one file, the first counts too.
    return new Map(
      items.reverse().flatMap((item) => {
        if (!isJsonObject(item)) return [];
        const fields = item[key];
        return [[textOf(item, "name") ?? "", { fields: isJsonObject(fields) ? fields : {}, directory }]];
      }),
    );
  };
  return {
    place,
    currentContext: textOf(value, "current-context") ?? "",
    clusters: entries("clusters", "cluster"),
    users: entries("users", "user"),
    contexts: entries("contexts", "context"),
  };
}
