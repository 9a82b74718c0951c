// The job of a kubernetes work pool. Source: prefect_kubernetes/worker.py KubernetesWorkerJobConfiguration.
import type { Json, JsonObject } from "../../api/wire.ts";
import { splitCommand } from "../../job/command.ts";
import { flowRunEnvironment } from "../../job/flow-run-environment.ts";
import { type RunFacts, renderName } from "../../job/job-fields.ts";
import { jobLabels } from "../../job/labels.ts";
import { inContainer, toProgram } from "../../job/program-fields.ts";
import { isJsonObject } from "../../job/template.ts";
import {
  booleanField,
  environmentField,
  integerField,
  JobConfigurationError,
  labelsField,
  objectField,
  textField,
  textsField,
} from "../../job/typed-fields.ts";
import type { Program } from "../../program/program.ts";
import { pythonText } from "../../python-text.ts";
import { prefectVersion } from "../../version.ts";
import { defaultImage } from "../default-image.ts";
import type { Job } from "../pool-type.ts";
import { checkManifest } from "./manifest-checks.ts";
import { Undisclosed } from "./undisclosed.ts";

/** An entry of a container's `env`. Source: Kubernetes API, EnvVar. */
export type EnvEntry = JsonObject;

/** A cluster, as a `kubernetes-cluster-config` block describes it. */
export interface ClusterConfig {
  /** A kubeconfig: an object, or its text in YAML. */
  readonly config: JsonObject | string;
  readonly contextName: string;
}

/** The job of one flow run that runs in a pod. */
export interface KubernetesJob extends Job {
  /** The rendered name. */
  readonly name: string;
  readonly workPoolId: string;
  readonly workerName: string;
  readonly namespace: string;
  /** As in the template, with the values filled in. The first container has no `env`; see `environment`. */
  readonly manifest: JsonObject;
  /** The environment of the first container. */
  readonly environment: Undisclosed<readonly EnvEntry[]>;
  /** The image of a first container without one. */
  readonly defaultImage: string;
  /** Before they are made to fit Kubernetes' rules. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Null for the cluster of the worker's own configuration. */
  readonly cluster: Undisclosed<ClusterConfig> | null;
  /** The longest time until the Job's end; null without a limit. */
  readonly jobWatchSeconds: number | null;
  /** The longest time until a pod has started; null without a limit. */
  readonly podWatchSeconds: number | null;
  readonly streamOutput: boolean;
}

/**
 * The default of all templates, so nobody may have chosen it. The reference ignores it. With autoscaling, pods often take
 * longer to start, so it sets no limit.
 */
const usualPodWatchSeconds = 60;

/** Returns the job from the resolved fields of the template. Throws JobConfigurationError and CommandError. */
export function toKubernetesJob(fields: JsonObject, facts: RunFacts): KubernetesJob {
  const namespace = textField("namespace", fields.namespace) || "default";
  if (fields.job_manifest === undefined)
    throw new JobConfigurationError('The job configuration has no "job_manifest".');
  const checked = checkManifest(objectField("job_manifest", fields.job_manifest), namespace);
  const { env: given, ...container } = containerOf(checked);
  const { variables, references } = readEnvironment(fields.env);
  const env = flowRunEnvironment({ ...facts, jobEnvironment: variables });
  const podWatchSeconds = secondsField("pod_watch_timeout_seconds", fields.pod_watch_timeout_seconds);
  const program = programOf(fields, facts, { container, env });
  const entries = environmentEntries(program.env, { references, given, evictions: evictionsOf(checked) });
  return {
    program,
    name: renderName(textField("name", fields.name), facts),
    workPoolId: facts.workPool.id,
    workerName: facts.workerName,
    namespace,
    manifest: withContainer(checked, container),
    environment: new Undisclosed(entries),
    defaultImage: defaultImage(facts.environment),
    labels: { ...jobLabels(facts.workPool, facts), ...recommendedLabels(facts), ...labelsField(fields.labels) },
    annotations: textsField("annotations", fields.annotations),
    cluster: clusterField(fields.cluster_config),
    jobWatchSeconds: secondsField("job_watch_timeout_seconds", fields.job_watch_timeout_seconds),
    podWatchSeconds: podWatchSeconds === usualPodWatchSeconds ? null : podWatchSeconds,
    streamOutput: booleanField("stream_output", fields.stream_output, true),
  };
}

/** The command of a job without one. It fetches the code, runs the engine, and cancels the flow run itself. */
export const engineCommand: readonly string[] = ["prefect", "flow-run", "execute"];

/** Returns whether the program is Prefect's own, which reports Running and ends itself when the flow run is cancelled. */
export function executesItself({ program: { command }, manifest }: KubernetesJob): boolean {
  if (containerOf(manifest).command !== undefined) return false;
  return command === null || engineCommand.every((word, index) => command[index] === word);
}

/** Returns the container of the flow run, which is the first one of the pod. */
export function containerOf(manifest: JsonObject): JsonObject {
  return (podSpecOf(manifest).containers as JsonObject[])[0] as JsonObject;
}

/** Returns the manifest with another first container. */
export function withContainer(manifest: JsonObject, container: JsonObject): JsonObject {
  const podSpec = podSpecOf(manifest);
  const [, ...others] = podSpec.containers as JsonObject[];
  const spec = manifest.spec as JsonObject;
  const template = spec.template as JsonObject;
  const filled = { ...template, spec: { ...podSpec, containers: [container, ...others] } };
  return { ...manifest, spec: { ...spec, template: filled } };
}

/** A checked manifest has all these parts. */
function podSpecOf(manifest: JsonObject): JsonObject {
  const { template } = manifest.spec as JsonObject;
  return (template as JsonObject).spec as JsonObject;
}

/** Returns the program of the first container. The command is the one of the manifest, also for a program that is reported. */
function programOf(
  fields: JsonObject,
  facts: RunFacts,
  { container, env }: { container: JsonObject; env: Readonly<Record<string, string>> },
): Program {
  const { args } = container;
  const words = commandOf(args);
  const listed = Array.isArray(args) && fields.reporter === "worker" ? words : null;
  const command = typeof args === "string" ? args : null;
  const program = toProgram({ ...fields, command, program: fields.program ?? listed }, facts, env);
  if (program.reporter === "engine") return { ...program, command: words };
  // A cluster would replace references such as $(NAME) in the parameters.
  const parameters = program.parameters.replace(/\$(?=[$(])/g, "\\u0024");
  return inContainer({ ...program, parameters }, resultPathOf(container));
}

/**
 * Returns the path to which a program writes its result. It is that of the termination message, because nobody can read a file of
 * a container that has ended.
 */
export function resultPathOf({ terminationMessagePath: path }: JsonObject): string {
  return typeof path === "string" && path !== "" ? path : usualResultPath;
}

/** Kubernetes' own path. Source: Kubernetes API, Container.terminationMessagePath. */
const usualResultPath = "/dev/termination-log";

/** Returns the words of the command; null for the engine. A list is taken as it is. */
function commandOf(args: Json | undefined): string[] | null {
  if (args === undefined || args === null) return null;
  if (typeof args === "string") return splitCommand(args);
  if (Array.isArray(args)) return args.map(pythonText);
  throw new JobConfigurationError("Invalid job manifest template: 'command' must be a string or list.");
}

/** The variables of `env`, and its entries that refer to other objects of the cluster. */
interface Environment {
  readonly variables: Record<string, string | null>;
  readonly references: readonly EnvEntry[];
}

/** `env` may be a list of Kubernetes' entries. */
function readEnvironment(env: Json | undefined): Environment {
  if (!Array.isArray(env)) return { variables: environmentField(env), references: [] };
  const entries = env.map((entry, index) => {
    if (isJsonObject(entry) && typeof entry.name === "string") return entry;
    throw new JobConfigurationError(`Job configuration key "env[${index}]" must be an object with a name.`);
  });
  const values = entries.filter(({ value, valueFrom }) => value !== undefined && valueFrom === undefined);
  const variables = Object.fromEntries(values.map(({ name, value }) => [name as string, value ?? null]));
  return { variables: environmentField(variables), references: entries.filter(({ valueFrom }) => valueFrom) };
}

const sigtermBehavior = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR";

/**
 * What an engine does that is told to end. `reschedule`: Kubernetes does not start it again, so it schedules the flow run
 * again. `relinquish`: Kubernetes starts it again, so it reports nothing. Source: _configure_eviction_handling.
 */
type Evictions = "reschedule" | "relinquish";

function evictionsOf({ spec }: JsonObject): Evictions {
  const { backoffLimit } = spec as JsonObject;
  return backoffLimit !== undefined && backoffLimit !== null && Number(backoffLimit) === 0
    ? "reschedule"
    : "relinquish";
}

/**
 * Returns the environment in the reference's order: settings and variables, references, the behaviour at evictions, and what
 * only the manifest has. Source: _populate_env_in_manifest.
 */
function environmentEntries(
  env: Readonly<Record<string, string>>,
  { references, given, evictions }: { references: readonly EnvEntry[]; given: Json | undefined; evictions: Evictions },
): EnvEntry[] {
  const all: EnvEntry[] = [...Object.entries(env).map(([name, value]) => ({ name, value })), ...references];
  // Kubernetes starts the pod again, whatever the job says, so no other behaviour would work then.
  const isChosen = evictions === "reschedule" && (env[sigtermBehavior] || has(references, sigtermBehavior));
  const others = isChosen ? all : all.filter(({ name }) => name !== sigtermBehavior);
  const ours = isChosen ? others : [...others, { name: sigtermBehavior, value: evictions }];
  const manifestOnly = Array.isArray(given) ? given.filter(isJsonObject).filter(({ name }) => !has(ours, name)) : [];
  return [...ours, ...manifestOnly];
}

function has(entries: readonly EnvEntry[], name: Json | undefined): boolean {
  return entries.some((entry) => entry.name === name);
}

/** Labels that Kubernetes recommends. Source: _base_flow_run_labels, _base_flow_labels, _base_deployment_labels. */
function recommendedLabels({ flow, deployment }: RunFacts): Record<string, string> {
  const name = deployment?.name ?? flow?.name;
  return {
    "app.kubernetes.io/managed-by": "prefect",
    "app.kubernetes.io/part-of": "prefect",
    "app.kubernetes.io/version": prefectVersion,
    ...(name !== undefined && { "app.kubernetes.io/name": name }),
  };
}

/** Returns the cluster of a job; null for that of the worker's configuration. Throws JobConfigurationError. */
export function clusterField(value: Json | undefined): Undisclosed<ClusterConfig> | null {
  if (value === undefined || value === null) return null;
  const { config, context_name } = objectField("cluster_config", value);
  const contextName = textField("cluster_config.context_name", context_name);
  if (typeof config !== "string" && !isJsonObject(config))
    throw new JobConfigurationError('Job configuration key "cluster_config" has no config.');
  if (!contextName) throw new JobConfigurationError('Job configuration key "cluster_config" has no context_name.');
  return new Undisclosed({ config, contextName });
}

/** A limit of 0 or less would end each Job at once, so it means no limit. */
function secondsField(key: string, value: Json | undefined): number | null {
  const seconds = integerField(key, value);
  return seconds === null || seconds <= 0 ? null : seconds;
}
