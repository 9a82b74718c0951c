// The size of an engine's requests with log records. The default of engines is 4 MB, and nginx refuses more than 1 MiB.
// The engine then drops the records.
import { hasSettingsFiles } from "./settings-files.ts";
import { findWantedUv } from "./uv-project.ts";

/**
 * Slightly less than 1 MiB. It must exceed PREFECT_LOGGING_TO_API_MAX_LOG_SIZE, 1,000,000 by default. Otherwise engines
 * since 3.9 send each record in a request of its own, because a batch ends as soon as another record of the largest size
 * may not fit. Source: prefect logging/handlers.py APILogWorker.max_batch_size.
 */
const engineBatchBytes = 1_040_000;

/**
 * The two sizes, and the groups that may hold them. Engines refuse a batch size that is smaller than the size of a record,
 * so both must be from the same source.
 */
const sizeVariable = /^PREFECT_LOGGING(_TO_API(_BATCH_SIZE|_MAX_LOG_SIZE)?)?$/i;
/** What chooses the profile. Another profile than the worker's may set a size. */
const profileVariables = ["PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_HOME"];

/** What is started, as in LaunchRequest. `workerEnv` has the variables that other flow runs of the worker get too. */
export interface EngineEnvironment {
  command: readonly string[] | null;
  cwd: string;
  env: Readonly<Record<string, string>>;
  workerEnv: Readonly<Record<string, string | undefined>>;
}

/**
 * Returns the variable that keeps the engine's requests below 1 MiB. Returns none if one of the two sizes is set, or may
 * be set where only the engine sees it: in another profile, in the project of the flow, or by a command.
 */
export async function logBatchVariables({
  command,
  cwd,
  env,
  workerEnv,
}: EngineEnvironment): Promise<Record<string, string>> {
  const isSet = Object.keys(env).some((name) => sizeVariable.test(name));
  const hasOtherProfile = profileVariables.some((name) => env[name] !== workerEnv[name]);
  if (command !== null || isSet || hasOtherProfile) return {};
  // The engine then starts in the project, which is not there yet.
  if (await findWantedUv(env)) return {};
  return (await hasSettingsFiles(cwd)) ? {} : { PREFECT_LOGGING_TO_API_BATCH_SIZE: String(engineBatchBytes) };
}
