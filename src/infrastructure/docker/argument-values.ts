// Translates the values of docker-py's arguments that have another form in the engine's API. All throw JobConfigurationError.
// Source: docker-py types/containers.py, utils/utils.py, utils/ports.py.
import type { Json, JsonObject } from "../../api/wire.ts";
import { isJsonObject } from "../../job/template.ts";
import { describeKind, JobConfigurationError } from "../../job/typed-fields.ts";

/** Returns the list. Throws JobConfigurationError for another value. */
export function listOf(value: Json, key: string): Json[] {
  if (Array.isArray(value)) return value;
  throw new JobConfigurationError(
    `"container_create_kwargs.${key}" is ${describeKind(value)}, but a list is expected.`,
  );
}

/** Returns the object. Throws JobConfigurationError for another value. */
export function mapOf(value: Json, key: string): JsonObject {
  if (isJsonObject(value)) return value;
  throw new JobConfigurationError(
    `"container_create_kwargs.${key}" is ${describeKind(value)}, but an object is expected.`,
  );
}

/** Times are nanoseconds. A test that is a text is run by a shell. */
export function toHealthcheck(value: Json, key: string): Json {
  const given = mapOf(value, key);
  const pick = (name: string): Json | undefined => given[name] ?? given[camelCase(name)];
  const test = pick("test");
  const fields: Record<string, Json | undefined> = {
    Test: typeof test === "string" ? ["CMD-SHELL", test] : test,
    Interval: pick("interval"),
    Timeout: pick("timeout"),
    Retries: pick("retries"),
    StartPeriod: pick("start_period"),
  };
  return Object.fromEntries(Object.entries(fields).filter((field): field is [string, Json] => field[1] !== undefined));
}

function camelCase(name: string): string {
  return name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** `{"80/tcp": 8080}`, also with an address and a port, with a list of these, and with null for any port. */
export function toPortBindings(value: Json, key: string): Json {
  const bindings = Object.entries(mapOf(value, key)).map(([port, binding]) => {
    const several = Array.isArray(binding) && !isAddressAndPort(binding);
    return [port.includes("/") ? port : `${port}/tcp`, (several ? binding : [binding]).map(toPortBinding)] as const;
  });
  return Object.fromEntries(bindings);
}

/** JSON has no tuples, so `["127.0.0.1", 8080]` may be meant as one binding. */
function isAddressAndPort(binding: readonly Json[]): boolean {
  const [address] = binding;
  return binding.length === 2 && typeof address === "string" && /[.:]/.test(address);
}

function toPortBinding(binding: Json): Json {
  if (isJsonObject(binding)) return { HostIp: binding.HostIp ?? "", HostPort: portText(binding.HostPort) };
  if (!Array.isArray(binding)) return { HostIp: "", HostPort: portText(binding) };
  const [address = "", port = null] = binding;
  return { HostIp: address, HostPort: portText(port) };
}

function portText(port: Json | undefined): string {
  return port === null || port === undefined ? "" : String(port);
}

/** `/dev/a:/dev/b:r`: the path outside, the path inside, and the permissions. */
export function toDevices(value: Json, key: string): Json {
  return listOf(value, key).map((device) => {
    if (typeof device !== "string") return device;
    const [host = "", inside = host, permissions = "rwm"] = device.split(":");
    return { PathOnHost: host, PathInContainer: inside, CgroupPermissions: permissions };
  });
}

/** Names in lower case with underscores are those of docker-py's class. */
export function toDeviceRequests(value: Json, key: string): Json {
  return listOf(value, key).map((request) => {
    const given = Object.entries(mapOf(request, key)).map(([name, item]) => [
      name === "device_ids" ? "DeviceIDs" : camelCase(name),
      item,
    ]);
    return { Driver: "", Count: 0, DeviceIDs: [], Capabilities: [], Options: {}, ...Object.fromEntries(given) };
  });
}

/** A map, or a list of pairs. */
export function toLinks(value: Json, key: string): Json {
  const pairs = isJsonObject(value) ? Object.entries(value) : listOf(value, key).map((pair) => listOf(pair, key));
  return [...pairs].sort().map(([name, alias]) => (alias ? `${String(name)}:${String(alias)}` : String(name)));
}

/** Names in lower case are those of docker-py's class. */
export function toLogConfig(value: Json, key: string): Json {
  const { type, config, Type, Config } = mapOf(value, key);
  return { Type: type ?? Type ?? "json-file", Config: config ?? Config ?? {} };
}

/** Names in lower case are those of docker-py's class. */
export function toUlimits(value: Json, key: string): Json {
  return listOf(value, key).map((limit) => {
    const { name, soft, hard, Name, Soft, Hard } = mapOf(limit, key);
    return { Name: name ?? Name ?? null, Soft: soft ?? Soft ?? 0, Hard: hard ?? Hard ?? 0 };
  });
}

/** A map, or a list of `path:options`. */
export function toTmpfs(value: Json, key: string): Json {
  if (isJsonObject(value)) return value;
  const mounts = listOf(value, key).map((mount) => {
    const [, path = "", options = ""] = /^([^:]*):?([\s\S]*)$/.exec(String(mount)) ?? [];
    return [path, options] as const;
  });
  return Object.fromEntries(mounts);
}

/** A list of `name:address`, or a map. */
export function toExtraHosts(value: Json): Record<string, string> {
  if (!Array.isArray(value)) {
    return Object.fromEntries(Object.entries(mapOf(value, "extra_hosts")).map(([name, ip]) => [name, String(ip)]));
  }
  const pairs = value.flatMap((item) => {
    const [, name, ip] = /^([^:]*):([\s\S]*)$/.exec(String(item)) ?? [];
    return name === undefined || ip === undefined ? [] : [[name, ip] as const];
  });
  return Object.fromEntries(pairs);
}
