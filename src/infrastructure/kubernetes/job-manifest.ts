// Prepares the manifest of a Job, in the order of the reference. Source: prefect_kubernetes/worker.py prepare_for_flow_run.
import { createHash } from "node:crypto";
import type { Json, JsonObject } from "../../api/wire.ts";
import { isJsonObject } from "../../job/template.ts";
import type { Program } from "../../program/program.ts";
import { pythonText } from "../../python-text.ts";
import { type JobFacts, poolLabel, toFactsAnnotation } from "./job-labels.ts";
import { containerOf, engineCommand, type KubernetesJob, resultPathOf, withContainer } from "./kubernetes-job.ts";
import { toAnnotations, toLabels, toName } from "./slugs.ts";

/** Together with the longest slug, the name also fits the labels and the names of the pods. */
const suffixLength = 10;

/**
 * A program whose states the worker reports leaves its exit code in its Job and nowhere else. So its Job stays for this time at
 * least, in which a worker that was away or had no response looks for it.
 */
const leastTimeToLiveSeconds = 300;

/** Returns the manifest of the Job. */
export async function toJobManifest(job: KubernetesJob, facts: JobFacts): Promise<JsonObject> {
  const { manifest } = job;
  // A name of the server's choice would be another one for each request.
  const { generateName: _, ...metadata } = manifest.metadata as JsonObject;
  const labels = { ...job.labels, [poolLabel]: job.workPoolId };
  const annotations = await toAnnotations({ ...textsOf(metadata.annotations), ...job.annotations });
  const container = containerOf(manifest);
  const filled = withContainer(withTimeToLive(manifest, job.program), {
    ...container,
    env: [...job.environment.reveal()],
    ...(!("image" in container) && { image: job.defaultImage }),
    ...programFields(job.program, container),
  });
  return {
    ...(await withPodMetadata(filled, { labels, annotations })),
    metadata: {
      ...metadata,
      name: await toJobName(job, facts),
      labels: await toLabels({ ...textsOf(metadata.labels), ...labels }),
      annotations: { ...annotations, ...toFactsAnnotation(facts) },
    },
  };
}

function withTimeToLive(manifest: JsonObject, { reporter }: Program): JsonObject {
  const spec = manifest.spec as JsonObject;
  const seconds = spec.ttlSecondsAfterFinished;
  if (reporter === "engine" || typeof seconds !== "number" || seconds >= leastTimeToLiveSeconds) return manifest;
  return { ...manifest, spec: { ...spec, ttlSecondsAfterFinished: leastTimeToLiveSeconds } };
}

/** Returns the fields of the container that say what it runs, and where the result of a program is. */
function programFields(program: Program, container: JsonObject): JsonObject {
  if (program.reporter === "engine") return { args: [...(program.command ?? engineCommand)] };
  return {
    // A cluster replaces references such as $(NAME), and parameters may look like them. Source: Kubernetes API, Container.args.
    args: program.command.map((word) => word.replaceAll("$", () => "$$")),
    terminationMessagePath: resultPathOf(container),
    // With the other policy, the message of a failed program without a result would be its last lines.
    terminationMessagePolicy: "File",
  };
}

/**
 * Returns the name of the Job of this attempt. It is always the same, so a repeated request creates no second Job. The
 * reference lets Kubernetes invent the last part.
 */
export async function toJobName(
  { name: ofRun, manifest }: KubernetesJob,
  { flowRunId, attempt }: Pick<JobFacts, "flowRunId" | "attempt">,
): Promise<string> {
  const { name, generateName } = manifest.metadata as JsonObject;
  const given = [name, generateName].find((text) => typeof text === "string" && text !== "") ?? "";
  const isUnset = /^-?$|^None-$|\{\{.*\}\}/s.test(String(given));
  const base = (await toName(isUnset ? ofRun : String(given))) || "prefect-job";
  const digest = createHash("sha256")
    .update([flowRunId, ...attempt].join(" "))
    .digest("hex");
  return `${base}-${digest.slice(0, suffixLength)}`;
}

/** Labels and annotations of the Job are those of its pods, too. */
async function withPodMetadata(
  manifest: JsonObject,
  { labels, annotations }: { labels: Record<string, string>; annotations: Record<string, string> },
): Promise<JsonObject> {
  const spec = manifest.spec as JsonObject;
  const template = spec.template as JsonObject;
  const metadata = isJsonObject(template.metadata) ? template.metadata : {};
  const all = {
    ...metadata,
    labels: await toLabels({ ...textsOf(metadata.labels), ...labels }),
    ...(Object.keys(annotations).length > 0 && { annotations: { ...textsOf(metadata.annotations), ...annotations } }),
  };
  return { ...manifest, spec: { ...spec, template: { ...template, metadata: all } } };
}

function textsOf(value: Json | undefined): Record<string, string> {
  const entries = Object.entries(isJsonObject(value) ? value : {});
  return Object.fromEntries(entries.map(([key, item]) => [key, pythonText(item)]));
}
