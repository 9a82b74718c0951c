// Translates `container_create_kwargs`, which has docker-py's names, into fields of the engine.
// Source: docker-py models/containers.py _create_container_args, types/containers.py HostConfig and ContainerConfig.
import type { Json, JsonObject } from "../../api/wire.ts";
import { splitCommand } from "../../job/command.ts";
import { isJsonObject } from "../../job/template.ts";
import { isTruthy, JobConfigurationError } from "../../job/typed-fields.ts";
import {
  listOf,
  mapOf,
  toDeviceRequests,
  toDevices,
  toExtraHosts,
  toHealthcheck,
  toLinks,
  toLogConfig,
  toPortBindings,
  toTmpfs,
  toUlimits,
} from "./argument-values.ts";
import { toBytes } from "./byte-sizes.ts";

/** Fields of the engine's create call. */
export interface ContainerFields {
  /** Fields at the top of the body. */
  readonly config: JsonObject;
  /** Fields of `HostConfig`. */
  readonly hostConfig: JsonObject;
  /** Names and addresses; null if none are given. */
  readonly extraHosts: Readonly<Record<string, string>> | null;
  /** Such as `linux/arm64`; null for the engine's own. */
  readonly platform: string | null;
  /** Whether the proxies of Docker's configuration file become variables. */
  readonly usesConfigProxies: boolean;
}

/** Fields of the job with the same names. docker-py would get them twice, so the reference drops these. */
const jobFields: readonly string[] =
  "command env labels name image registry_credentials image_pull_policy networks network_mode auto_remove volumes stream_output mem_limit memswap_limit privileged container_create_kwargs".split(
    " ",
  );

/** Translates a value. Throws JobConfigurationError. */
type Translate = (value: Json, key: string) => Json;

const same: Translate = (value) => value;
const bytes: Translate = (value, key) => toBytes(`container_create_kwargs.${key}`, value);
const words: Translate = (value) => (typeof value === "string" ? splitCommand(value) : value);
const textOf: Translate = (value) => String(value);
const textsOf: Translate = (value, key) => listOf(value, key).map(String);
const byComma: Translate = (value) => (typeof value === "string" ? value.split(",") : value);
const textValues: Translate = (value, key) =>
  Object.fromEntries(Object.entries(mapOf(value, key)).map(([name, item]) => [name, String(item)]));

/** Fields at the top of the body. */
const configFields: Readonly<Record<string, readonly [string, Translate]>> = {
  domainname: ["Domainname", same],
  entrypoint: ["Entrypoint", words],
  healthcheck: ["Healthcheck", toHealthcheck],
  hostname: ["Hostname", same],
  mac_address: ["MacAddress", same],
  network_disabled: ["NetworkDisabled", same],
  stop_signal: ["StopSignal", same],
  tty: ["Tty", same],
  user: ["User", textOf],
  working_dir: ["WorkingDir", same],
};

/** Fields of HostConfig that are kept also if they are empty or zero. docker-py leaves out empty ones of the others. */
const keptHostFields: Readonly<Record<string, readonly [string, Translate]>> = {
  cgroup_parent: ["CgroupParent", same],
  device_cgroup_rules: ["DeviceCgroupRules", listOf],
  device_requests: ["DeviceRequests", toDeviceRequests],
  dns: ["Dns", same],
  dns_opt: ["DnsOptions", same],
  init: ["Init", same],
  links: ["Links", toLinks],
  log_config: ["LogConfig", toLogConfig],
  mem_swappiness: ["MemorySwappiness", same],
  mounts: ["Mounts", same],
  ports: ["PortBindings", toPortBindings],
  read_only: ["ReadonlyRootfs", same],
  security_opt: ["SecurityOpt", listOf],
  shm_size: ["ShmSize", bytes],
  storage_opt: ["StorageOpt", same],
  ulimits: ["Ulimits", toUlimits],
  volume_driver: ["VolumeDriver", same],
  volumes_from: ["VolumesFrom", byComma],
};

const hostFields: Readonly<Record<string, readonly [string, Translate]>> = {
  ...keptHostFields,
  blkio_weight: ["BlkioWeight", same],
  blkio_weight_device: ["BlkioWeightDevice", listOf],
  cap_add: ["CapAdd", same],
  cap_drop: ["CapDrop", same],
  cgroupns: ["CgroupnsMode", same],
  cpu_count: ["CpuCount", same],
  cpu_percent: ["CpuPercent", same],
  cpu_period: ["CpuPeriod", same],
  cpu_quota: ["CpuQuota", same],
  cpu_rt_period: ["CPURealtimePeriod", same],
  cpu_rt_runtime: ["CPURealtimeRuntime", same],
  cpu_shares: ["CpuShares", same],
  cpuset_cpus: ["CpusetCpus", same],
  cpuset_mems: ["CpusetMems", same],
  device_read_bps: ["BlkioDeviceReadBps", listOf],
  device_read_iops: ["BlkioDeviceReadIOps", listOf],
  device_write_bps: ["BlkioDeviceWriteBps", listOf],
  device_write_iops: ["BlkioDeviceWriteIOps", listOf],
  devices: ["Devices", toDevices],
  dns_search: ["DnsSearch", same],
  group_add: ["GroupAdd", textsOf],
  ipc_mode: ["IpcMode", same],
  isolation: ["Isolation", same],
  kernel_memory: ["KernelMemory", bytes],
  mem_reservation: ["MemoryReservation", bytes],
  nano_cpus: ["NanoCpus", same],
  oom_kill_disable: ["OomKillDisable", same],
  oom_score_adj: ["OomScoreAdj", same],
  pid_mode: ["PidMode", same],
  pids_limit: ["PidsLimit", same],
  publish_all_ports: ["PublishAllPorts", same],
  restart_policy: ["RestartPolicy", mapOf],
  runtime: ["Runtime", same],
  sysctls: ["Sysctls", textValues],
  tmpfs: ["Tmpfs", toTmpfs],
  userns_mode: ["UsernsMode", same],
  uts_mode: ["UTSMode", same],
};

/** Arguments that have no effect on a container that is created. */
const withoutEffect: readonly string[] = ["detach", "version"];
/** Arguments that are not fields of one place. */
const special: readonly string[] = ["extra_hosts", "platform", "stdin_open", "use_config_proxy"];

/** Returns the fields for docker-py's arguments. Throws JobConfigurationError for an argument that docker-py refuses. */
export function toContainerFields(given: JsonObject, networkMode: string | null): ContainerFields {
  const config: JsonObject = {};
  const hostConfig: JsonObject = {};
  const names = Object.keys(given).filter((name) => !jobFields.includes(name) && given[name] !== null);
  for (const name of names) {
    const value = given[name] as Json;
    const [atTop, inHost] = [configFields[name], hostFields[name]];
    if (atTop) config[atTop[0]] = atTop[1](value, name);
    else if (inHost) {
      if (name in keptHostFields || isTruthy(value)) hostConfig[inHost[0]] = inHost[1](value, name);
    } else if (!withoutEffect.includes(name) && !special.includes(name)) throw refusal(name);
  }
  if (isTruthy(given.stdin_open)) Object.assign(config, { OpenStdin: true, StdinOnce: true, AttachStdin: true });
  const ports = hostConfig.PortBindings;
  if (isJsonObject(ports) && isTruthy(ports)) {
    if (networkMode === "host") {
      throw new JobConfigurationError(`"container_create_kwargs" has ports, but network mode host publishes none.`);
    }
    config.ExposedPorts = Object.fromEntries(
      Object.keys(ports)
        .sort()
        .map((port) => [port, {}]),
    );
  } else {
    delete hostConfig.PortBindings;
  }
  return {
    config,
    hostConfig,
    extraHosts: given.extra_hosts == null ? null : toExtraHosts(given.extra_hosts),
    platform: typeof given.platform === "string" ? given.platform : null,
    usesConfigProxies: given.use_config_proxy === undefined || isTruthy(given.use_config_proxy),
  };
}

function refusal(name: string): JobConfigurationError {
  const key = `"container_create_kwargs" has "${name}"`;
  const twice: Readonly<Record<string, string>> = { environment: "env", network: "networks", host_config: "others" };
  if (name in twice) return new JobConfigurationError(`${key}, which is set by the job variable "${twice[name]}".`);
  return new JobConfigurationError(`${key}, which docker-py does not know.`);
}
