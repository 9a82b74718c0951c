// The image of flow runs whose work pool names none.
import { prefectVersion } from "../version.ts";

/** A Python that all current Prefect releases have an image for. */
const pythonMinor = "3.12";

/** Returns the image of flow runs without one: LICTOR_DEFAULT_IMAGE, else Prefect's image of the release that lictor speaks for. */
export function defaultImage(env: Readonly<Record<string, string | undefined>>): string {
  return env.LICTOR_DEFAULT_IMAGE?.trim() || `prefecthq/prefect:${prefectVersion}-python${pythonMinor}`;
}
