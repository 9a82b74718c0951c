// The base job template that lictor gives a work pool of type `docker`.
import type { JsonObject } from "../../api/wire.ts";
import { reportingVariables } from "../../job/reporting-fields.ts";
import { field, optionalText, orNull, text } from "../template-schema.ts";

const texts: JsonObject = { type: "array", items: text };

/** The variables in the order of the reference, and those that lictor adds. Source: prefect_docker/worker.py DockerWorkerJobConfiguration. */
const properties: JsonObject = {
  command: field("Command", optionalText, "Command of a flow run; usually left empty."),
  env: field(
    "Environment Variables",
    { type: "object", additionalProperties: { anyOf: [text, { type: "null" }] } },
    "Environment variables of a flow run.",
  ),
  labels: field("Labels", { type: "object", additionalProperties: text }, "Labels of the containers."),
  name: field("Name", optionalText, "Name of the containers; may use {{ ctx.flow.* }} and {{ ctx.flow_run.* }}."),
  image: {
    ...field("Image", text, "Image of the containers; the matching Prefect image if not set."),
    examples: ["prefecthq/prefect:3-latest"],
  },
  registry_credentials: {
    ...orNull({ $ref: "#/$defs/DockerRegistryCredentials" }),
    description: "Login for pulling images.",
  },
  image_pull_policy: field(
    "Image Pull Policy",
    orNull({ enum: ["IfNotPresent", "Always", "IfPossible", "Never"], type: "string" }),
    "When images are pulled.",
  ),
  networks: field("Networks", texts, "Networks that containers join."),
  network_mode: field(
    "Network Mode",
    optionalText,
    "Network mode, for example host or bridge; not together with networks.",
  ),
  auto_remove: field("Auto Remove", { type: "boolean", default: false }, "Remove containers that have ended."),
  volumes: {
    ...field("Volumes", texts, "Volumes to mount; relative sources count from the worker's directory."),
    examples: ["/my/local/path:/path/in/container", "./data:/path/in/container"],
  },
  stream_output: field(
    "Stream Output",
    { type: "boolean", default: true },
    "Show the output of containers in the worker's.",
  ),
  mem_limit: field("Memory Limit", optionalText, "Memory limit with unit b, k, m or g; bytes without one."),
  memswap_limit: field(
    "Memory Swap Limit",
    optionalText,
    "Memory and swap together; -1 for unlimited swap. Only with mem_limit.",
  ),
  privileged: field("Privileged", { type: "boolean", default: false }, "Extended privileges."),
  container_create_kwargs: field(
    "Container Configuration",
    orNull({ additionalProperties: true, type: "object" }),
    "Further arguments of docker-py's container creation.",
  ),
  ...reportingVariables,
};

/** The type of the block with a login. User interfaces offer blocks of this type. */
const registryCredentials: JsonObject = {
  type: "object",
  title: "DockerRegistryCredentials",
  additionalProperties: true,
  block_type_slug: "docker-registry-credentials",
  block_schema_references: {},
  secret_fields: ["password"],
  required: ["username", "password", "registry_url"],
  properties: {
    username: { title: "Username", type: "string" },
    password: { title: "Password", type: "string", format: "password", writeOnly: true },
    registry_url: { title: "Registry Url", type: "string" },
    reauth: { title: "Reauth", type: "boolean", default: true },
  },
};

/** The template for a work pool that is created or has none. User interfaces show its titles and descriptions. */
export const dockerBaseJobTemplate: JsonObject = {
  job_configuration: Object.fromEntries(Object.keys(properties).map((key) => [key, `{{ ${key} }}`])),
  variables: { type: "object", properties, $defs: { DockerRegistryCredentials: registryCredentials } },
};
