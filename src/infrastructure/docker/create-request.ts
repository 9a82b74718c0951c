// Builds the create call of a container, field by field as the reference does.
// Source: prefect_docker/worker.py _build_container_settings; docker-py types/containers.py.
import type { Json, JsonObject } from "../../api/wire.ts";
import { slugify } from "../../job/slug.ts";
import { isJsonObject } from "../../job/template.ts";
import { startMark } from "./begun.ts";
import { type DockerJob, engineCommand, executesItself } from "./docker-job.ts";

/** The create call without its name. */
export interface CreateRequest {
  readonly platform: string | null;
  readonly body: JsonObject;
}

/** What is known of the engine and of this machine when a container is created. */
export interface CreateFacts {
  /** Labels on top of those of the job. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether the engine knows `host-gateway`, the address of its machine. */
  readonly knowsHostGateway: boolean;
  /** Docker's configuration file. */
  readonly dockerConfig: JsonObject;
  /** Where the engine is, as `DOCKER_HOST` names it. */
  readonly engineHost: string;
}

/** Returns the create call. */
export function toCreateRequest(job: DockerJob, facts: CreateFacts): CreateRequest {
  const { container, volumes, networks } = job;
  const [network] = networks;
  const extraHosts = toExtraHosts(job, facts);
  const hostConfig: JsonObject = {
    ...(job.memory !== null && { Memory: job.memory }),
    ...(job.memorySwap !== null && { MemorySwap: job.memorySwap }),
    ...(job.privileged && { Privileged: true }),
    NetworkMode: network ?? job.networkMode ?? "default",
    ...(volumes.length > 0 && { Binds: [...volumes] }),
    ...(extraHosts && { ExtraHosts: extraHosts }),
    ...(job.autoRemove && { AutoRemove: true }),
    ...container.hostConfig,
    ...(!executesItself(job) && {
      Tmpfs: { ...(container.hostConfig.Tmpfs as JsonObject), [startMark]: "ro,size=4k" },
    }),
  };
  const body: JsonObject = {
    Image: job.image,
    Cmd: [...(job.program.command ?? engineCommand)],
    Env: environmentOf(job, facts),
    Labels: { ...job.labels, ...facts.labels },
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    NetworkDisabled: false,
    ...(volumes.length > 0 && { Volumes: Object.fromEntries(volumes.map((volume) => [targetOf(volume), {}])) }),
    HostConfig: hostConfig,
    ...(network !== undefined && { NetworkingConfig: { [network]: null } }),
    ...container.config,
  };
  return { platform: container.platform, body };
}

/** Returns the environment of the container, as `NAME=value`. */
export function environmentOf(
  { container, program }: DockerJob,
  facts: Pick<CreateFacts, "dockerConfig" | "engineHost">,
): string[] {
  const proxies = container.usesConfigProxies ? proxyVariables(facts) : {};
  return Object.entries({ ...proxies, ...program.env }).map(([name, value]) => `${name}=${value}`);
}

/** The longest name. Docker has no limit, but URLs do. */
const longestName = 250;

/** Returns the name of a container; null if nothing is left of it, and then the engine invents one. */
export async function toContainerName(name: string): Promise<string | null> {
  const slug = await slugify(name, { kept: "a-zA-Z0-9_.", isLowerCase: false, maxLength: longestName });
  return slug.replace(/^[_.-]+/, "") || null;
}

/** Returns the path in the container. A drive letter is no part of it. */
function targetOf(volume: string): string {
  const [, drive = "", rest = ""] = /^([A-Za-z]:(?=[\\/]))?([\s\S]*)$/.exec(volume) ?? [];
  const [, source = "", target] = /^([^:]*)(?::([\s\S]*))?$/.exec(rest) ?? [];
  if (target === undefined || target === "ro" || target === "rw") return drive + source;
  return target.replace(/:(ro|rw)$/, "");
}

function toExtraHosts({ needsHostName, container }: DockerJob, { knowsHostGateway }: CreateFacts): Json[] | null {
  if (!needsHostName && container.extraHosts === null) return null;
  const automatic = needsHostName && knowsHostGateway ? { "host.docker.internal": "host-gateway" } : {};
  const hosts = Object.entries({ ...automatic, ...container.extraHosts });
  return hosts.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, ip]) => `${name}:${ip}`);
}

/** The variables for proxies in Docker's configuration file. Source: docker-py utils/proxy.py. */
const proxyNames: Readonly<Record<string, string>> = {
  httpProxy: "http_proxy",
  httpsProxy: "https_proxy",
  ftpProxy: "ftp_proxy",
  noProxy: "no_proxy",
};

function proxyVariables({
  dockerConfig: { proxies },
  engineHost,
}: Pick<CreateFacts, "dockerConfig" | "engineHost">): Record<string, string> {
  if (!isJsonObject(proxies)) return {};
  const chosen = proxies[engineHost] ?? proxies.default;
  if (!isJsonObject(chosen)) return {};
  const pairs = Object.entries(proxyNames).flatMap(([key, name]): [string, string][] => {
    const value = chosen[key];
    return typeof value !== "string" || value === ""
      ? []
      : [
          [name, value],
          [name.toUpperCase(), value],
        ];
  });
  return Object.fromEntries(pairs);
}

/** The first engine that knows the address `host-gateway`. */
const hostGatewaySince = [20, 10];

/** Returns whether an engine of this version knows `host-gateway`. Podman's versions are lower, and it knows it. */
export function knowsHostGateway(version: string, isPodman: boolean): boolean {
  const [major = 0, minor = 0] = version.split(/[.-]/).map(Number);
  const [leastMajor = 0, leastMinor = 0] = hostGatewaySince;
  return isPodman || major > leastMajor || (major === leastMajor && minor >= leastMinor);
}
