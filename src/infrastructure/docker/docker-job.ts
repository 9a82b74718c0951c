// The job of a docker work pool. Source: prefect_docker/worker.py DockerWorkerJobConfiguration.
import { resolve } from "node:path";
import type { Json, JsonObject } from "../../api/wire.ts";
import { flowRunEnvironment } from "../../job/flow-run-environment.ts";
import { type RunFacts, renderName } from "../../job/job-fields.ts";
import { jobLabels } from "../../job/labels.ts";
import { inContainer, toProgram } from "../../job/program-fields.ts";
import {
  booleanField,
  environmentField,
  JobConfigurationError,
  labelsField,
  objectField,
  textField,
  textListField,
} from "../../job/typed-fields.ts";
import { prefectVersion } from "../../version.ts";
import { defaultImage } from "../default-image.ts";
import type { Job } from "../pool-type.ts";
import { toBytes } from "./byte-sizes.ts";
import { type ContainerFields, toContainerFields } from "./container-arguments.ts";
import { resultPath } from "./container-result.ts";
import { type PullPolicy, toPullPolicy } from "./image-reference.ts";
import { RegistryLogin } from "./registry-login.ts";

/** The job of one flow run that runs in a container. */
export interface DockerJob extends Job {
  /** The rendered name. The container gets it as a slug. */
  readonly name: string;
  readonly workPoolId: string;
  readonly workerName: string;
  /** In Docker's form, such as `io.prefect.flow-run-id`. */
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  readonly pullPolicy: PullPolicy;
  readonly registryLogin: RegistryLogin | null;
  readonly networks: readonly string[];
  /** Null for the engine's default. */
  readonly networkMode: string | null;
  /** Whether the container needs a name for the machine of the engine. */
  readonly needsHostName: boolean;
  readonly autoRemove: boolean;
  readonly volumes: readonly string[];
  readonly streamOutput: boolean;
  /** In bytes; null without a limit. */
  readonly memory: number | null;
  readonly memorySwap: number | null;
  readonly privileged: boolean;
  /** From `container_create_kwargs`, as fields of the engine. */
  readonly container: ContainerFields;
}

/** Where the job is made. It decides how containers reach an API on this machine. */
export interface JobPlace {
  readonly platform: NodeJS.Platform;
  readonly directory: string;
}

/** Returns the job from the resolved fields of the template. Throws JobConfigurationError and CommandError. */
export function toDockerJob(
  fields: JsonObject,
  facts: RunFacts,
  place: JobPlace = { platform: process.platform, directory: process.cwd() },
): DockerJob {
  const jobEnvironment = environmentField(fields.env);
  const networks = textListField("networks", fields.networks);
  const apiUrl = jobEnvironment.PREFECT_API_URL ?? facts.exportedSettings.PREFECT_API_URL;
  const networkMode = textField("network_mode", fields.network_mode) || inferNetworkMode(networks, apiUrl, place);
  const exportedSettings =
    networkMode === "host" ? facts.exportedSettings : reachableFromInside(facts.exportedSettings);
  const env = flowRunEnvironment({ ...facts, exportedSettings, jobEnvironment });
  const image = textField("image", fields.image) || defaultImage(facts.environment);
  const labels = { ...jobLabels(facts.workPool, facts), ...labelsField(fields.labels) };
  return {
    program: inContainer(toProgram(fields, facts, env), resultPath),
    name: renderName(textField("name", fields.name), facts),
    workPoolId: facts.workPool.id,
    workerName: facts.workerName,
    labels: { ...toDockerLabels(labels), "io.prefect.version": prefectVersion },
    image,
    pullPolicy: toPullPolicy(textField("image_pull_policy", fields.image_pull_policy), image),
    registryLogin: RegistryLogin.fromField(fields.registry_credentials),
    networks,
    networkMode,
    needsHostName: place.platform === "linux" && isLocal(env.PREFECT_API_URL),
    autoRemove: booleanField("auto_remove", fields.auto_remove, false),
    volumes: textListField("volumes", fields.volumes).map((volume) => toVolume(volume, place.directory)),
    streamOutput: booleanField("stream_output", fields.stream_output, true),
    memory: toBytes("mem_limit", textField("mem_limit", fields.mem_limit)),
    memorySwap: toBytes("memswap_limit", textField("memswap_limit", fields.memswap_limit)),
    privileged: booleanField("privileged", fields.privileged, false),
    container: toContainerFields(argumentsField(fields.container_create_kwargs), networkMode),
  };
}

/** The command of a job without one. It fetches the code, runs the engine, and cancels the flow run itself. */
export const engineCommand: readonly string[] = ["prefect", "flow-run", "execute"];

/** Returns whether the program is Prefect's own, which reports Running and ends itself when the flow run is cancelled. */
export function executesItself({ program: { command } }: Job): boolean {
  return command === null || engineCommand.every((word, index) => command[index] === word);
}

/** An API on this machine is reached over the network of this machine. That works on Linux only. */
export function inferNetworkMode(
  networks: readonly string[],
  apiUrl: string | undefined,
  { platform }: JobPlace,
): string | null {
  if (networks.length > 0 || platform !== "linux" || apiUrl === undefined) return null;
  const host = /^[a-z]+:\/\/([^/?#]*)/i.exec(apiUrl)?.[1]?.split(":")[0];
  return host === "127.0.0.1" || host === "localhost" ? "host" : null;
}

/** Returns the settings with the name that a container has for this machine in the URL of the API. */
export function reachableFromInside(settings: Readonly<Record<string, string>>): Record<string, string> {
  const { PREFECT_API_URL: url } = settings;
  if (url === undefined) return { ...settings };
  return { ...settings, PREFECT_API_URL: url.replaceAll(/localhost|127\.0\.0\.1/g, "host.docker.internal") };
}

/** Returns whether the URL is one of this machine. Without a URL, nobody knows. */
function isLocal(apiUrl: string | undefined): boolean {
  return apiUrl === undefined || /localhost|127.0.0.1|host.docker.internal/.test(apiUrl);
}

/** Returns `io.prefect.x` for `prefect.io/x`, as Docker recommends. */
export function toDockerLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(labels).map(([key, value]) => {
    const [, namespace, name] = /^([^/]*)\/([\s\S]*)$/.exec(key) ?? [];
    return [namespace === undefined ? key : `${namespace.split(".").reverse().join(".")}.${name}`, value] as const;
  });
  return Object.fromEntries(entries);
}

function argumentsField(value: Json | undefined): JsonObject {
  return value === null ? {} : objectField("container_create_kwargs", value);
}

const relativeSource = /^(?:\.|\.\.|\.\.?[/\\].*)$/;
const absoluteSource = /^(?:\/|[A-Za-z]:\\|\\\\)/;
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * Returns a volume as the engine takes it, with an absolute source. Throws JobConfigurationError.
 * Source: prefect_docker/types.py assert_volume_str.
 */
function toVolume(given: string, directory: string): string {
  const volume = given.trim();
  if (/^\/[^:]+$/.test(volume)) return volume;
  const [, source = "", target = "", option] =
    /^((?:[A-Za-z]:\\|\\\\|\/)?[^:]+):(\/?[^:]+)(?::(.+))?$/.exec(volume) ?? [];
  const refuse = (problem: string): JobConfigurationError =>
    new JobConfigurationError(`Job configuration key "volumes" has "${given}", and ${problem}.`);
  if (source === "") throw refuse("/path, /host/path:/path or name:/path is expected");
  if (option !== undefined && option !== "ro" && option !== "rw") throw refuse(`"${option}" is neither ro nor rw`);
  const isRelative = relativeSource.test(source);
  if (!isRelative && !absoluteSource.test(source)) {
    if (!volumeName.test(source)) throw refuse(`"${source}" is neither an absolute path nor the name of a volume`);
    return volume;
  }
  if (!target.startsWith("/")) throw refuse("the path in the container must be absolute");
  return isRelative ? resolve(directory, source) + volume.slice(source.length) : volume;
}
