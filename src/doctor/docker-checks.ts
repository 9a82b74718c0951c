// Checks for a docker work pool: the engine, the URL that containers get, and the disk of the engine.
import { statfs } from "node:fs/promises";
import type { Json, WorkPool } from "../api/wire.ts";
import { describeBytes } from "../infrastructure/docker/byte-sizes.ts";
import { knowsHostGateway } from "../infrastructure/docker/create-request.ts";
import { inferNetworkMode, reachableFromInside } from "../infrastructure/docker/docker-job.ts";
import { Engine, isPodman } from "../infrastructure/docker/engine/engine.ts";
import { findEngine } from "../infrastructure/docker/engine/engine-address.ts";
import { EngineUnreachableError } from "../infrastructure/docker/engine/engine-error.ts";
import { isJsonObject } from "../job/template.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

const engineName = "Docker engine";
const urlName = "API URL in containers";
const diskName = "Docker disk";

/** Prefect's image needs about 1 GB. */
const minFreeBytes = 2 * 1024 ** 3;
/** The time limit of one question, below that of the whole doctor. */
const limitMs = 3_000;

/** The checks. They find nothing for a work pool of another type. */
export const dockerChecks: readonly Check[] = [{ name: engineName, run: checkDocker }];

async function checkDocker(examination: Examination): Promise<Finding[]> {
  const pool = await examination.workPool;
  if (pool?.type !== "docker") return [];
  const engine = new Engine(findEngine(examination.env), limitMs);
  const reached = await checkEngine(engine, examination.signal);
  if (reached.status === "fail") return [reached];
  return [reached, await checkApiUrl(engine, pool, examination), ...(await checkDisk(engine, examination.signal))];
}

async function checkEngine(engine: Engine, signal: AbortSignal): Promise<Finding> {
  const { host } = engine.address;
  try {
    const known = await engine.version(signal);
    const { Version: version, ApiVersion } = known;
    // Any user may connect to some sockets, and is refused here.
    await engine.request("GET", "/containers/json", { query: { limit: 1 }, signal });
    const message = `${host}: ${isPodman(known) ? "Podman" : "Docker"} ${version}, API ${ApiVersion}`;
    if (knowsHostGateway(version, isPodman(known))) return pass(engineName, message);
    return warn(engineName, message, "Containers cannot reach an API on this machine before Docker 20.10. Update it.");
  } catch (error) {
    if (!(error instanceof EngineUnreachableError)) throw error;
    const [what = "", ...advice] = error.message.split(/(?<=\)\.) /);
    return fail(engineName, what, advice.join(" ") || "Start Docker, or set DOCKER_HOST.");
  }
}

/** Checks the URL that containers get by the defaults of the work pool. A job variable may say something else. */
async function checkApiUrl(engine: Engine, pool: WorkPool, { access, signal }: Examination): Promise<Finding> {
  const { apiUrl } = (await access).connection;
  const networks = defaultOf(pool, "networks");
  const names = Array.isArray(networks) ? networks.map(String) : [];
  const place = { platform: process.platform, directory: "/" };
  const given = defaultOf(pool, "network_mode");
  const mode = typeof given === "string" && given !== "" ? given : inferNetworkMode(names, apiUrl, place);
  if (mode === "host") {
    if (isLocalHost(engine)) return pass(urlName, `${apiUrl}, over the network of this machine`);
    const advice =
      "Let the API listen on an address that the machine of the engine reaches, and set PREFECT_API_URL to it.";
    return warn(urlName, `${apiUrl} is the machine of the engine, ${engine.address.host}, and not this one`, advice);
  }
  const url = reachableFromInside({ PREFECT_API_URL: apiUrl }).PREFECT_API_URL ?? apiUrl;
  if (url === apiUrl || process.platform !== "linux") return pass(urlName, url);
  const network = names[0] ?? "bridge";
  const gateway = await readGateway(engine, network, signal);
  if (gateway === null)
    return warn(urlName, url, `The network ${network} has no gateway, so nobody can say where it leads.`);
  const reached = url.replace("host.docker.internal", gateway);
  const problem = await problemOf(`${reached}/health`, signal);
  if (problem === null) return pass(urlName, `${url}, which is ${gateway} in network ${network}`);
  const advice = `Let the server listen on ${gateway} or 0.0.0.0 (prefect server start --host 0.0.0.0), or use network mode host.`;
  return fail(urlName, `${url}: ${problem} on ${reached}`, advice);
}

/** Returns what the template gives a field without a job variable. */
function defaultOf({ base_job_template: template }: WorkPool, key: string): Json | undefined {
  const { job_configuration: configuration, variables } = template;
  const value = isJsonObject(configuration) ? configuration[key] : undefined;
  if (typeof value !== "string" || !value.includes("{{")) return value;
  const properties = isJsonObject(variables) ? variables.properties : undefined;
  const property = isJsonObject(properties) ? properties[key] : undefined;
  return isJsonObject(property) ? property.default : undefined;
}

/** Returns whether the engine is on this machine, as far as its address tells. */
function isLocalHost({ address: { tcp } }: Engine): boolean {
  return tcp === null || /^(localhost|127\.|::1)/.test(tcp.hostname);
}

async function readGateway(engine: Engine, network: string, signal: AbortSignal): Promise<string | null> {
  const { IPAM } = await engine.request<{ IPAM?: { Config?: { Gateway?: string }[] } }>("GET", `/networks/${network}`, {
    signal,
  });
  return IPAM?.Config?.find(({ Gateway }) => Gateway)?.Gateway ?? null;
}

/** Returns why the address is not that of the API; null if it may be. A proxy in front of the API may want a login. */
async function problemOf(url: string, signal: AbortSignal): Promise<string | null> {
  const response = await fetch(url, { signal, redirect: "manual" }).catch(() => null);
  if (response === null) return "nothing answers";
  const mayBeApi = response.status < 400 || response.status === 401 || response.status === 403;
  return mayBeApi ? null : `something else answers (${response.status})`;
}

/** The disk of an engine on another machine cannot be looked at. */
async function checkDisk(engine: Engine, signal: AbortSignal): Promise<Finding[]> {
  const { DockerRootDir } = await engine.request<{ DockerRootDir?: string }>("GET", "/info", { signal });
  if (DockerRootDir === undefined || engine.address.tcp !== null) return [];
  const stats = await statfs(DockerRootDir).catch(() => null);
  if (stats === null) return [];
  const free = stats.bavail * stats.bsize;
  const message = `${describeBytes(free)} free in ${DockerRootDir}`;
  if (free >= minFreeBytes) return [pass(diskName, message)];
  return [
    warn(diskName, message, "An image of Prefect needs about 1 GiB. Remove what is not used: docker system prune."),
  ];
}
