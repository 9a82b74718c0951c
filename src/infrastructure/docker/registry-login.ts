// Logins for registries: from a block, from Docker's configuration file, and from its credential helpers.
// Source: Docker's documentation of config.json and of credential helpers; docker-py auth.py.
import { spawn } from "node:child_process";
import type { Json, JsonObject } from "../../api/wire.ts";
import { isJsonObject } from "../../job/template.ts";
import { JobConfigurationError, objectField, textField } from "../../job/typed-fields.ts";
import { type Environment, readConfig } from "./engine/engine-address.ts";
import { dockerHub } from "./image-reference.ts";

/** A user name and a password for one registry. JSON of it has no password. */
export class RegistryLogin {
  readonly #password: string;

  constructor(
    readonly username: string,
    password: string,
    /** The registry, as a URL or as a host. */
    readonly registry: string,
  ) {
    this.#password = password;
  }

  /** Returns the login of a `docker-registry-credentials` block; null if the field is missing. Throws JobConfigurationError. */
  static fromField(value: Json | undefined): RegistryLogin | null {
    if (value === undefined || value === null) return null;
    const fields = objectField("registry_credentials", value);
    const [username, password, registry] = ["username", "password", "registry_url"].map((key) => {
      const text = textField(`registry_credentials.${key}`, fields[key]);
      if (text === null) throw new JobConfigurationError(`Job configuration key "registry_credentials" has no ${key}.`);
      return text;
    }) as [string, string, string];
    return new RegistryLogin(username, password, registry);
  }

  /** Returns the body of `POST /auth`. */
  toBody(): JsonObject {
    return { username: this.username, password: this.#password, serveraddress: this.registry };
  }

  /** The texts that must not appear in any output. */
  get secrets(): readonly string[] {
    const both = Buffer.from(`${this.username}:${this.#password}`).toString("base64");
    return [this.#password, this.toHeader(), both];
  }

  /**
   * Returns the header of a pull. A credential helper may return a token instead of a password. The engine ignores a header
   * without the padding of base64, which Node.js leaves out of "base64url".
   */
  toHeader(): string {
    const body: JsonObject =
      this.username === "<token>"
        ? { identitytoken: this.#password, serveraddress: this.registry }
        : { username: this.username, password: this.#password, email: null, serveraddress: this.registry };
    return Buffer.from(JSON.stringify(body)).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
  }

  /** Returns whether this login is for the registry of an image. */
  isFor(registry: string): boolean {
    return hostOf(this.registry) === hostOf(registry);
  }
}

/** Returns the host of a registry's URL. Docker Hub has several. */
function hostOf(registry: string): string {
  const host = registry.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["", "docker.io", "registry-1.docker.io", "registry.hub.docker.com"].includes(host) ? "index.docker.io" : host;
}

/** A credential helper asks a keychain or a cloud, which may take seconds. */
const helperLimitMs = 30_000;

/**
 * Returns the login for a registry from Docker's configuration file; null if there is none. Throws EngineAddressError if
 * the file is no JSON, and an error that names the credential helper if that fails.
 */
export async function readConfiguredLogin(registry: string, env: Environment): Promise<RegistryLogin | null> {
  const { auths, credHelpers, credsStore } = readConfig(env);
  const helper = isJsonObject(credHelpers) ? findOf(credHelpers, registry) : undefined;
  const program = typeof helper === "string" ? helper : credsStore;
  if (typeof program === "string" && program !== "") return await askHelper(program, registry, env);
  const entry = isJsonObject(auths) ? findOf(auths, registry) : undefined;
  if (!isJsonObject(entry)) return null;
  if (typeof entry.identitytoken === "string") return new RegistryLogin("<token>", entry.identitytoken, registry);
  const [, username, password] =
    /^([^:]*):([\s\S]*)$/.exec(Buffer.from(String(entry.auth ?? ""), "base64").toString("utf8")) ?? [];
  return username === undefined || password === undefined ? null : new RegistryLogin(username, password, registry);
}

function findOf(entries: JsonObject, registry: string): Json | undefined {
  const key = Object.keys(entries).find((name) => hostOf(name) === hostOf(registry));
  return key === undefined ? undefined : entries[key];
}

/** Runs `docker-credential-<name> get`. It reads the registry and prints JSON. */
async function askHelper(name: string, registry: string, env: Environment): Promise<RegistryLogin | null> {
  const program = `docker-credential-${name}`;
  const { code, stdout } = await runHelper(program, registry, env);
  if (code !== 0) {
    if (/credentials not found/i.test(stdout)) return null;
    throw new Error(`${program} failed with ${code} for ${registry}: ${describeFailure(stdout)}`);
  }
  const { Username: username, Secret: secret } = parseLogin(stdout);
  if (typeof username !== "string" || typeof secret !== "string")
    throw new Error(`${program} printed no login for ${registry}.`);
  return new RegistryLogin(username, secret, registry === dockerHub ? dockerHub : registry);
}

/** A login is a JSON object. An error of JSON.parse would quote it. */
function parseLogin(stdout: string): JsonObject {
  try {
    const login = JSON.parse(stdout) as Json;
    return isJsonObject(login) ? login : {};
  } catch {
    return {};
  }
}

/** A helper that fails prints why. One that printed a login all the same must not have it in the log. */
function describeFailure(stdout: string): string {
  if (stdout.includes("{")) return "it printed a login";
  return stdout.trim() || "it printed nothing";
}

async function runHelper(program: string, input: string, env: Environment): Promise<{ code: number; stdout: string }> {
  const child = spawn(program, ["get"], {
    env: { ...env },
    stdio: ["pipe", "pipe", "ignore"],
    timeout: helperLimitMs,
  });
  let stdout = "";
  child.stdout.on("data", (chunk) => {
    stdout += String(chunk);
  });
  // A helper that has ended does not read.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return await new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new Error(`${program} cannot be run: ${error.message}`, { cause: error })));
    child.on("close", (code) => resolve({ code: code ?? 1, stdout }));
  });
}
