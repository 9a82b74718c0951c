// The base job template that lictor gives a work pool of type `kubernetes`.
import type { JsonObject } from "../../api/wire.ts";
import { reportingFields, reportingVariables } from "../../job/reporting-fields.ts";
import { field, optionalText, orNull, text } from "../template-schema.ts";

/**
 * The variables in the order of the reference, and those that lictor adds.
 * Source: prefect_kubernetes/worker.py KubernetesWorkerVariables.
 */
const properties: JsonObject = {
  name: field("Name", optionalText, "Name of the Jobs; it becomes a prefix, and Kubernetes' rules apply."),
  env: field(
    "Environment Variables",
    { type: "object", additionalProperties: { anyOf: [text, { type: "null" }] } },
    "Environment variables of a flow run.",
  ),
  labels: field("Labels", { type: "object", additionalProperties: text }, "Labels of the Jobs and their pods."),
  command: field("Command", optionalText, "Command of a flow run; usually left empty."),
  annotations: field(
    "Annotations",
    { type: "object", additionalProperties: text },
    "Annotations of the Jobs and their pods.",
  ),
  namespace: field("Namespace", { type: "string", default: "default" }, "Namespace of the Jobs."),
  image: {
    ...field("Image", optionalText, "Image of the containers; the matching Prefect image if not set."),
    examples: ["docker.io/prefecthq/prefect:3-latest"],
  },
  service_account_name: field("Service Account Name", optionalText, "Service account of the pods."),
  image_pull_policy: field(
    "Image Pull Policy",
    { enum: ["IfNotPresent", "Always", "Never"], type: "string", default: "IfNotPresent" },
    "When images are pulled.",
  ),
  backoff_limit: field(
    "Backoff Limit",
    { type: "integer", minimum: 0, default: 0 },
    "How many times Kubernetes starts a failed pod again.",
  ),
  finished_job_ttl: field(
    "Finished Job TTL",
    orNull({ type: "integer" }),
    "Seconds until Kubernetes deletes an ended Job; it is kept if not set.",
  ),
  job_watch_timeout_seconds: field(
    "Job Watch Timeout Seconds",
    orNull({ type: "integer" }),
    "Seconds that a Job may take; without a limit if not set.",
  ),
  pod_watch_timeout_seconds: field(
    "Pod Watch Timeout Seconds",
    { type: "integer", default: 60 },
    "Seconds that a pod may take to start.",
  ),
  stream_output: field(
    "Stream Output",
    { type: "boolean", default: true },
    "Show the output of containers in the worker's.",
  ),
  cluster_config: {
    ...orNull({ $ref: "#/definitions/KubernetesClusterConfig" }),
    description: "The cluster; that of the worker's configuration if not set.",
  },
  cpu_request: field("CPU Request", optionalText, "CPU that a pod reserves, for example 500m."),
  cpu_limit: field("CPU Limit", optionalText, "CPU that a pod may use, for example 2."),
  memory_request: field("Memory Request", optionalText, "Memory that a pod reserves, for example 512Mi."),
  memory_limit: field("Memory Limit", optionalText, "Memory that a pod may use, for example 1Gi."),
  ...reportingVariables,
};

/** The type of the block with a cluster. User interfaces offer blocks of this type. */
const clusterConfig: JsonObject = {
  type: "object",
  title: "KubernetesClusterConfig",
  block_type_slug: "kubernetes-cluster-config",
  block_schema_references: {},
  secret_fields: [],
  required: ["config", "context_name"],
  properties: {
    config: { title: "Config", type: "object", description: "A kubeconfig." },
    context_name: { title: "Context Name", type: "string", description: "The context of the kubeconfig to use." },
  },
};

/** Source: prefect_kubernetes/worker.py _get_default_job_manifest_template. */
const jobManifest: JsonObject = {
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: {
    annotations: "{{ annotations }}",
    labels: "{{ labels }}",
    namespace: "{{ namespace }}",
    generateName: "{{ name }}-",
  },
  spec: {
    backoffLimit: "{{ backoff_limit }}",
    ttlSecondsAfterFinished: "{{ finished_job_ttl }}",
    template: {
      spec: {
        // Kubernetes ignores them in a pod. They are here for the reference, which refuses templates without them.
        parallelism: 1,
        completions: 1,
        restartPolicy: "Never",
        serviceAccountName: "{{ service_account_name }}",
        containers: [
          {
            name: "prefect-job",
            env: "{{ env }}",
            image: "{{ image }}",
            imagePullPolicy: "{{ image_pull_policy }}",
            args: "{{ command }}",
            resources: {
              limits: { cpu: "{{ cpu_limit }}", memory: "{{ memory_limit }}" },
              requests: { cpu: "{{ cpu_request }}", memory: "{{ memory_request }}" },
            },
          },
        ],
      },
    },
  },
};

/** The template for a work pool that is created or has none. User interfaces show its titles and descriptions. */
export const kubernetesBaseJobTemplate: JsonObject = {
  job_configuration: {
    command: "{{ command }}",
    env: "{{ env }}",
    labels: "{{ labels }}",
    name: "{{ name }}",
    annotations: "{{ annotations }}",
    namespace: "{{ namespace }}",
    job_manifest: jobManifest,
    cluster_config: "{{ cluster_config }}",
    job_watch_timeout_seconds: "{{ job_watch_timeout_seconds }}",
    pod_watch_timeout_seconds: "{{ pod_watch_timeout_seconds }}",
    stream_output: "{{ stream_output }}",
    ...reportingFields,
  },
  variables: { type: "object", properties, definitions: { KubernetesClusterConfig: clusterConfig } },
};
