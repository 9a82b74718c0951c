// The settings of docker work pools, which are environment variables.
import type { Environment } from "./engine/engine-address.ts";

/** A variable that cannot be used. */
export class DockerSettingError extends Error {
  override readonly name = "DockerSettingError";
}

const usualKeepHours = 24;
/** A year. */
const mostKeepHours = 8_784;
const usualLimitSeconds = 60;
const mostLimitSeconds = 86_400;

/** Returns LICTOR_DOCKER_KEEP_HOURS: for how long ended containers are kept. Throws DockerSettingError. */
export function keepHours({ LICTOR_DOCKER_KEEP_HOURS: text }: Environment): number {
  const hours = Number(text?.trim() || usualKeepHours);
  if (hours >= 0 && hours <= mostKeepHours) return hours;
  throw new DockerSettingError(
    `LICTOR_DOCKER_KEEP_HOURS is '${text}'. It must be a number of hours from 0 to ${mostKeepHours}; 0 removes containers when they have ended.`,
  );
}

/** Returns DOCKER_CLIENT_TIMEOUT, the time limit of a request in seconds. Throws DockerSettingError. */
export function limitSeconds({ DOCKER_CLIENT_TIMEOUT: text }: Environment): number {
  const seconds = Number(text?.trim() || usualLimitSeconds);
  if (seconds > 0 && seconds <= mostLimitSeconds) return seconds;
  throw new DockerSettingError(
    `DOCKER_CLIENT_TIMEOUT is '${text}'. It must be a number of seconds above 0, at most ${mostLimitSeconds}.`,
  );
}
