// Names of images, and when they are pulled. Source: prefect utilities/dockerutils.py parse_image_tag, prefect_docker/worker.py.
import { JobConfigurationError } from "../../job/typed-fields.ts";

const policies = ["IfNotPresent", "Always", "IfPossible", "Never"] as const;

/** When an image is pulled. */
export type PullPolicy = (typeof policies)[number];

/** The parts of an image's name. `tag` is the tag or the digest; null if there is none. */
export interface ImageReference {
  readonly name: string;
  readonly tag: string | null;
}

/** Returns the parts of an image's name. A port of the registry is no tag. */
export function parseImage(image: string): ImageReference {
  const [, digestName, digest] = /^([^@]+)@(.+)$/.exec(image) ?? [];
  if (digestName !== undefined && digest !== undefined) return { name: digestName, tag: digest };
  const [, name, tag] = /^(.+):([^:/]+)$/.exec(image) ?? [];
  return name !== undefined && tag !== undefined ? { name, tag } : { name: image, tag: null };
}

/** Returns the host of an image's registry, as Docker's configuration file names it. */
export function registryOf(image: string): string {
  const [host = "", ...path] = parseImage(image).name.split("/");
  const isHost = path.length > 0 && (/[.:]/.test(host) || host === "localhost");
  return isHost && host !== "docker.io" && host !== "index.docker.io" ? host : dockerHub;
}

/** Docker's configuration file names Docker Hub like this. */
export const dockerHub = "https://index.docker.io/v1/";

/** Returns the policy. Without one, only images whose tag stays the same are kept. Throws JobConfigurationError. */
export function toPullPolicy(given: string | null, image: string): PullPolicy {
  if (given === null || given === "") {
    const { tag } = parseImage(image);
    return tag === null || tag === "latest" ? "Always" : "IfNotPresent";
  }
  const policy = policies.find((each) => each === given);
  if (policy !== undefined) return policy;
  throw new JobConfigurationError(
    `Job configuration key "image_pull_policy" is "${given}", but one of ${policies.join(", ")} is expected.`,
  );
}
