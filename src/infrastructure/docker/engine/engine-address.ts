// Finds the container engine, as the Docker command line does: DOCKER_HOST, then a Docker context, then the usual sockets.
// Source: Docker's documentation of environment variables and contexts; docker-py utils/utils.py parse_host, kwargs_from_env.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "../../../api/wire.ts";
import { isJsonObject } from "../../../job/template.ts";
import { EngineAddressError } from "./engine-error.ts";

/** The environment that lictor was started with. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a container engine listens. */
export interface EngineAddress {
  /** As `DOCKER_HOST` names it, for messages. */
  readonly host: string;
  /** A Unix socket or a named pipe; null for TCP. */
  readonly socketPath: string | null;
  /** The host and port for TCP. */
  readonly tcp: { readonly hostname: string; readonly port: number } | null;
  /** The contents of the PEM files for TLS; null without TLS. */
  readonly tls: TlsFiles | null;
  /** The first part of `infrastructure_pid`. Source: docker-py api/client.py, base_url. */
  readonly baseUrl: string;
}

/** Certificates and keys for TLS, as PEM. */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized: boolean;
}

const usualSocket = "unix:///var/run/docker.sock";
const usualPipe = "npipe:////./pipe/docker_engine";
const plainPort = 2375;
const tlsPort = 2376;

/** Returns where the engine is. Reads Docker's configuration files. Throws EngineAddressError. */
export function findEngine(env: Environment, platform = process.platform): EngineAddress {
  if (env.DOCKER_HOST) return toAddress(env.DOCKER_HOST, tlsOfEnvironment(env));
  const context = env.DOCKER_CONTEXT || readConfig(env).currentContext;
  if (typeof context === "string" && context !== "" && context !== "default") return ofContext(context, env);
  if (platform === "win32") return toAddress(usualPipe, null);
  return toAddress(usualSockets(env).find((socket) => existsSync(socket.slice("unix://".length))) ?? usualSocket, null);
}

/** Returns Docker's configuration directory. */
export function configDirectory(env: Environment): string {
  return env.DOCKER_CONFIG || join(env.HOME || homedir(), ".docker");
}

/** Returns Docker's configuration file; an empty object if there is none. Throws EngineAddressError if it is no JSON. */
export function readConfig(env: Environment): JsonObject {
  return readJson(join(configDirectory(env), "config.json")) ?? {};
}

/** Docker, rootless Docker, and Podman, which speaks the same protocol. */
function usualSockets({ XDG_RUNTIME_DIR: runtime }: Environment): string[] {
  const ofUser = runtime ? [`unix://${runtime}/docker.sock`, `unix://${runtime}/podman/podman.sock`] : [];
  return [usualSocket, ...ofUser, "unix:///run/podman/podman.sock"];
}

function tlsOfEnvironment(env: Environment): TlsFiles | null {
  if (!env.DOCKER_TLS_VERIFY) return null;
  return readTls(env.DOCKER_CERT_PATH || configDirectory(env), true);
}

/** Reads a context of `docker context create`. Its directories are named by the hash of its name. */
function ofContext(name: string, env: Environment): EngineAddress {
  const id = createHash("sha256").update(name).digest("hex");
  const contexts = join(configDirectory(env), "contexts");
  const meta = readJson(join(contexts, "meta", id, "meta.json"));
  const endpoint = isJsonObject(meta?.Endpoints) ? meta.Endpoints.docker : undefined;
  if (!isJsonObject(endpoint) || typeof endpoint.Host !== "string") {
    throw new EngineAddressError(
      `The Docker context '${name}' is not in ${join(contexts, "meta")}. Create it, choose another one with \`docker context use\`, or set DOCKER_HOST.`,
    );
  }
  const tlsDirectory = join(contexts, "tls", id, "docker");
  const usesTls = existsSync(tlsDirectory) || endpoint.SkipTLSVerify === true;
  return toAddress(endpoint.Host, usesTls ? readTls(tlsDirectory, endpoint.SkipTLSVerify !== true) : null);
}

function readTls(directory: string, rejectUnauthorized: boolean): TlsFiles {
  const read = (name: string): Record<string, string> => {
    const path = join(directory, `${name}.pem`);
    return existsSync(path) ? { [name]: readFileSync(path, "utf8") } : {};
  };
  const files = { ...read("ca"), ...read("cert"), ...read("key") };
  if (Object.keys(files).length > 0 || !rejectUnauthorized) return { ...files, rejectUnauthorized };
  throw new EngineAddressError(
    `${directory} has none of ca.pem, cert.pem and key.pem, which TLS with Docker needs. Correct DOCKER_CERT_PATH, or unset DOCKER_TLS_VERIFY.`,
  );
}

const password = /:[^/:@]*@/;

function toAddress(given: string, tls: TlsFiles | null): EngineAddress {
  const [, scheme = "tcp", rest = ""] = /^(?:([a-z]+):\/\/)?(.*)$/.exec(given.trim()) ?? [];
  // Docker takes no password here, but messages must not show one.
  const host = given.replace(password, ":********@");
  if (scheme === "unix") {
    const socketPath = rest.startsWith("/") ? rest : `/${rest}`;
    return { host, socketPath, tcp: null, tls: null, baseUrl: "http+docker://localhost" };
  }
  if (scheme === "npipe") {
    return { host, socketPath: rest.replaceAll("/", "\\"), tcp: null, tls: null, baseUrl: "http+docker://localnpipe" };
  }
  if (scheme === "ssh") {
    throw new EngineAddressError(
      `lictor does not connect to Docker over SSH (${host}). Forward the socket, for example with \`ssh -NL /tmp/docker.sock:/var/run/docker.sock ${rest.replace(password, "@")}\`, and set DOCKER_HOST=unix:///tmp/docker.sock.`,
    );
  }
  if (!["tcp", "http", "https"].includes(scheme)) {
    throw new EngineAddressError(`DOCKER_HOST '${host}' begins with none of unix://, tcp://, https:// and npipe://.`);
  }
  return toTcp(host, rest, scheme === "https" ? (tls ?? { rejectUnauthorized: true }) : tls);
}

function toTcp(host: string, rest: string, tls: TlsFiles | null): EngineAddress {
  let url: URL;
  try {
    url = new URL(`http://${rest}`);
  } catch (error) {
    throw new EngineAddressError(`DOCKER_HOST '${host}' names no host and port, such as tcp://engine:2375.`, {
      cause: error,
    });
  }
  // An explicit port 80 disappears from the URL.
  const port = Number(url.port || (/:80\/?$/.test(rest) ? 80 : tls ? tlsPort : plainPort));
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  const baseUrl = `${tls ? "https" : "http"}://${url.hostname}:${port}`;
  return { host, socketPath: null, tcp: { hostname, port }, tls, baseUrl };
}

function readJson(path: string): JsonObject | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const value = JSON.parse(readFileSync(path, "utf8"));
    return isJsonObject(value) ? value : undefined;
  } catch (error) {
    // An error of JSON.parse quotes the file, which may have logins. So it is no cause either.
    const problem = error instanceof SyntaxError ? "it is no JSON" : (error as Error).message;
    throw new EngineAddressError(`${path} cannot be read: ${problem}. Correct it.`);
  }
}
