// Runs a credential plugin, such as those of EKS, GKE and AKS.
// Source: Kubernetes documentation "client-go credential plugins"; client.authentication.k8s.io/v1 ExecCredential.
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import type { Json, JsonObject } from "../../../api/wire.ts";
import { isJsonObject } from "../../../job/template.ts";
import { systemCode } from "../../../process/system-errors.ts";
import type { Credentials, Environment } from "./cluster-access.ts";
import { ClusterConfigError, ClusterUnreachableError } from "./cluster-error.ts";
import { type Entry, textOf } from "./kubeconfig.ts";

/** What a plugin may want to know, and what messages name. */
export interface PluginContext {
  readonly server: string;
  /** The entry of the cluster in the kubeconfig. */
  readonly cluster: Entry;
  readonly environment: Environment;
  readonly origin: string;
}

/** The answer of a plugin. */
export interface PluginCredentials extends Credentials {
  /** When they expire, on the wall clock. Null: never, until the API server refuses them. */
  readonly expiresAt: number | null;
}

const versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/** A plugin may ask a cloud, which may be slow. */
const limitMs = 60_000;
const mostOutputBytes = 1024 * 1024;

/**
 * Runs the plugin of a user's field `exec`. Throws ClusterConfigError if it cannot work, and ClusterUnreachableError if it
 * failed, because it may succeed later.
 */
export async function runPlugin(
  exec: JsonObject,
  directory: string,
  context: PluginContext,
): Promise<PluginCredentials> {
  const { server, environment, origin } = context;
  const apiVersion = textOf(exec, "apiVersion") ?? "";
  const command = textOf(exec, "command") ?? "";
  const plugin = `The credential plugin '${command}' of ${origin}`;
  if (!versions.includes(apiVersion)) {
    throw new ClusterConfigError(
      `${plugin} speaks '${apiVersion}'. lictor needs ${versions.join(" or ")}. Update the kubeconfig with the tool of your cloud.`,
    );
  }
  if (exec.interactiveMode === "Always") {
    throw new ClusterConfigError(`${plugin} needs a terminal (interactiveMode Always). Use a user that needs none.`);
  }
  // A name without a slash is looked for in PATH.
  const file = command.includes("/") ? resolve(directory, command) : command;
  const args = Array.isArray(exec.args) ? exec.args.map(String) : [];
  const env = { ...environment, ...environmentOf(exec.env), KUBERNETES_EXEC_INFO: infoFor(apiVersion, exec, context) };
  const { stdout, stderr, error } = await run(file, args, env);
  if (systemCode(error) === "ENOENT") {
    const hint = textOf(exec, "installHint")?.trim().replace(/\s+/g, " ");
    throw new ClusterConfigError(`${plugin} is not installed. ${hint ?? "Install it, or correct PATH."}`);
  }
  if (error) {
    const said = stderr.trim().replace(/\s+/g, " ").slice(-300);
    const how = error.killed ? `took more than ${limitMs / 1000} s` : `failed (${error.code ?? error.signal})`;
    throw new ClusterUnreachableError(server, "EXEC_PLUGIN", `${plugin} ${how}${said && `: ${said}`}`);
  }
  return toCredentials(stdout, apiVersion, plugin);
}

/** The error has no cause, because the output of a plugin may be in it. */
type Failure = { readonly code?: string | number | null; readonly signal?: string | null; readonly killed?: boolean };

async function run(
  file: string,
  args: readonly string[],
  env: Environment,
): Promise<{ stdout: string; stderr: string; error: Failure | null }> {
  return await new Promise((done) => {
    const child = execFile(
      file,
      args,
      { env, timeout: limitMs, killSignal: "SIGKILL", maxBuffer: mostOutputBytes, windowsHide: true },
      (error, stdout, stderr) => done({ stdout, stderr, error: error as Failure | null }),
    );
    // It must not wait for an answer that nobody can give.
    child.stdin?.on("error", () => {}).end();
  });
}

function environmentOf(list: Json | undefined): Record<string, string> {
  const entries = (Array.isArray(list) ? list : []).filter((item) => isJsonObject(item));
  return Object.fromEntries(entries.map((entry) => [textOf(entry, "name") ?? "", textOf(entry, "value") ?? ""]));
}

function infoFor(apiVersion: string, exec: JsonObject, { server, cluster: { fields } }: PluginContext): string {
  const cluster: JsonObject = { server };
  for (const key of ["tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url"]) {
    if (fields[key] !== undefined) cluster[key] = fields[key];
  }
  const spec = { interactive: false, ...(exec.provideClusterInfo === true && { cluster }) };
  return JSON.stringify({ kind: "ExecCredential", apiVersion, spec });
}

function toCredentials(stdout: string, apiVersion: string, plugin: string): PluginCredentials {
  let answer: Json;
  try {
    answer = JSON.parse(stdout) as Json;
  } catch {
    throw new ClusterConfigError(`${plugin} printed something else than JSON. Run it by hand to see what is wrong.`);
  }
  const status = isJsonObject(answer) && isJsonObject(answer.status) ? answer.status : {};
  if (isJsonObject(answer) && answer.apiVersion !== apiVersion) {
    throw new ClusterConfigError(
      `${plugin} answered with another version than '${apiVersion}'. Update the kubeconfig.`,
    );
  }
  const token = textOf(status, "token");
  const cert = textOf(status, "clientCertificateData");
  const key = textOf(status, "clientKeyData");
  if (token === undefined && (cert === undefined || key === undefined)) {
    throw new ClusterConfigError(`${plugin} printed neither a token nor a certificate. Run it by hand to see why.`);
  }
  const expiresAt = Date.parse(textOf(status, "expirationTimestamp") ?? "");
  return {
    authorization: token === undefined ? null : `Bearer ${token}`,
    certificate: cert === undefined || key === undefined ? null : { cert, key },
    expiresAt: Number.isNaN(expiresAt) ? null : expiresAt,
  };
}
