// Provides the image of a flow run by the job's pull policy. Source: prefect_docker/worker.py _should_pull_image, _pull_image.
import type { JsonObject } from "../../api/wire.ts";
import { monotonicMs } from "../../async/clock.ts";
import { isJsonObject } from "../../job/template.ts";
import type { Logger } from "../../logger.ts";
import { describeBytes } from "./byte-sizes.ts";
import type { Docker } from "./docker.ts";
import type { DockerJob } from "./docker-job.ts";
import { isAway, isMissing } from "./engine/engine-error.ts";
import { parseImage, registryOf } from "./image-reference.ts";
import { type RegistryLogin, readConfiguredLogin } from "./registry-login.ts";

/** How often the log shows the progress of a pull. */
const progressMs = 10_000;
/** The engine begins its response when the registry has answered it. */
const pullBeginMs = 600_000;

/** Makes sure that the engine has the image. Throws ImageError, and what `Engine.request` throws if the engine is away. */
export async function provideImage(docker: Docker, job: DockerJob, log: Logger, signal: AbortSignal): Promise<void> {
  const { pullPolicy, image } = job;
  if (pullPolicy === "Never") return;
  if (pullPolicy === "IfNotPresent" && (await hasImage(docker, image, signal))) return;
  try {
    await pull(docker, job, log, signal);
  } catch (error) {
    if (signal.aborted || isAway(error)) throw error;
    const failure = toImageError(image, error);
    if (pullPolicy !== "IfPossible") throw failure;
    log.warn(
      `${failure.message} The image pull policy is IfPossible, so the engine's own image is used if there is one.`,
    );
    if (await hasImage(docker, image, signal)) return;
    throw new ImageError(`${failure.message} The engine does not have the image either.`, { cause: error });
  }
}

/** An image that the engine cannot get. The message has the engine's or the registry's reason. */
export class ImageError extends Error {
  override readonly name = "ImageError";
}

function toImageError(image: string, error: unknown): ImageError {
  const { text = undefined, message } = error as Error & { text?: string };
  const reason = (text ?? message).trim().replace(/\.$/, "");
  const isRefused = /denied|unauthorized|authentication|credentials|forbidden/i.test(reason);
  const advice = isRefused
    ? " Check the image's name, and set registry_credentials if its registry needs a login."
    : "";
  return new ImageError(`Image '${image}' could not be pulled: ${reason}.${advice}`, { cause: error });
}

async function hasImage({ engine }: Docker, image: string, signal: AbortSignal): Promise<boolean> {
  try {
    await engine.request("GET", `/images/${image}/json`, { signal });
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function pull(docker: Docker, job: DockerJob, log: Logger, signal: AbortSignal): Promise<void> {
  const { engine, services } = docker;
  const { image, registryLogin } = job;
  const registry = registryOf(image);
  if (registryLogin) {
    services.hide(registryLogin.secrets);
    log.info("Logging into Docker registry...");
    await engine.request("POST", "/auth", { body: registryLogin.toBody(), signal });
  }
  const login: RegistryLogin | null = registryLogin?.isFor(registry)
    ? registryLogin
    : registryLogin === null
      ? await readConfiguredLogin(registry, services.environment)
      : null;
  // The engine and the registry may repeat them in a message.
  if (login) services.hide(login.secrets);
  log.info(`Pulling image '${image}'...`);
  const { name, tag } = parseImage(image);
  const begunAt = monotonicMs();
  const lines = engine.lines("POST", "/images/create", {
    query: { tag: tag ?? "latest", fromImage: name },
    ...(login && { headers: { "x-registry-auth": login.toHeader() } }),
    limitMs: pullBeginMs,
    signal,
  });
  const progress = new PullProgress();
  let shownAt = begunAt;
  for await (const line of lines) {
    if (typeof line.error === "string") throw new Error(line.error);
    progress.add(line);
    if (monotonicMs() - shownAt < progressMs) continue;
    shownAt = monotonicMs();
    log.info(`Still pulling image '${image}': ${progress.describe()}`);
  }
  log.info(`Pulled image '${image}' in ${Math.round((monotonicMs() - begunAt) / 1000)} s.`);
}

/** The progress of a pull, from the lines that the engine sends. */
export class PullProgress {
  /** What is known of each layer, in bytes. */
  readonly #layers = new Map<string, { current: number; total: number; isDone: boolean }>();

  /** Notes a line. Lines without an id are about the whole image. */
  add({ id, status, progressDetail }: JsonObject): void {
    if (typeof id !== "string" || typeof status !== "string" || /^Pulling from/.test(status)) return;
    const before = this.#layers.get(id) ?? { current: 0, total: 0, isDone: false };
    const { current, total } = isJsonObject(progressDetail) ? progressDetail : {};
    const isDownload = status === "Downloading" && typeof current === "number" && typeof total === "number";
    const isDone = /complete|exists/i.test(status) && status !== "Download complete";
    this.#layers.set(id, {
      current: isDownload ? current : before.current,
      total: isDownload ? total : before.total,
      isDone: isDone || before.isDone,
    });
  }

  /** Returns the progress as words, such as `3 of 7 layers, 45 MiB of 120 MiB`. */
  describe(): string {
    const layers = [...this.#layers.values()];
    const done = layers.filter(({ isDone }) => isDone).length;
    const sum = (key: "current" | "total"): number => layers.reduce((all, layer) => all + layer[key], 0);
    const bytes = sum("total") > 0 ? `, ${describeBytes(sum("current"))} of ${describeBytes(sum("total"))}` : "";
    return `${done} of ${layers.length} layers${bytes}`;
  }
}
