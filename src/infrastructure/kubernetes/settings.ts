// The settings of kubernetes work pools, which are environment variables. Source: prefect_kubernetes/settings.py.
import { pythonBoolean } from "../../python-boolean.ts";
import type { Environment } from "./cluster/cluster-access.ts";

/** A variable that cannot be used. */
export class KubernetesSettingError extends Error {
  override readonly name = "KubernetesSettingError";
}

/** A key of a secret of the cluster. */
export interface SecretKey {
  readonly name: string;
  readonly key: string;
}

/** The settings. */
export interface KubernetesSettings {
  /** Where the API key of flow runs is; null if the manifest has it. */
  readonly apiKeySecret: SecretKey | null;
  /** Whether the worker creates the secret with the API key. */
  readonly createsApiKeySecret: boolean;
  /** Where the auth string of flow runs is; null if the manifest has it. */
  readonly authStringSecret: SecretKey | null;
  /** Whether the environment of each flow run is a secret of its own. */
  readonly storesEnvironment: boolean;
  /** How often a Job is tried to be created, and the pause between two tries in seconds. */
  readonly createAttempts: number;
  readonly createPause: { readonly seconds: number; readonly leastJitter: number; readonly mostJitter: number };
  /** Namespaces that are watched from the start. */
  readonly namespaces: readonly string[];
  /** Whether events about pods are sent. */
  readonly sendsPodEvents: boolean;
  /** How many of the last lines of a failed container are logged; 0 for none. */
  readonly tailLines: number;
}

const prefix = "PREFECT_INTEGRATIONS_KUBERNETES_";

/** Returns the settings. Throws KubernetesSettingError. */
export function readSettings(environment: Environment): KubernetesSettings {
  const read = new Reader(environment);
  const secret = (name: string): SecretKey | null => {
    const [secretName, key] = [read.text(`WORKER_${name}_SECRET_NAME`), read.text(`WORKER_${name}_SECRET_KEY`)];
    return secretName !== "" && key !== "" ? { name: secretName, key } : null;
  };
  const retry = "WORKER_CREATE_JOB_RETRY_";
  return {
    apiKeySecret: secret("API_KEY"),
    createsApiKeySecret: read.boolean(
      "WORKER_CREATE_SECRET_FOR_API_KEY",
      false,
      "PREFECT_KUBERNETES_WORKER_STORE_PREFECT_API_IN_SECRET",
    ),
    authStringSecret: secret("API_AUTH_STRING"),
    storesEnvironment: read.boolean("WORKER_STORE_ENV_AS_SECRET", false),
    createAttempts: read.integer(`${retry}MAX_RETRIES`, 3, 1),
    createPause: {
      seconds: read.integer(`${retry}DELAY_SECONDS`, 1, 0),
      leastJitter: read.integer(`${retry}JITTER_MIN_SECONDS`, 0, 0),
      mostJitter: read.integer(`${retry}JITTER_MAX_SECONDS`, 3, 0),
    },
    namespaces: read
      .text("OBSERVER_NAMESPACES")
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean),
    sendsPodEvents: read.boolean("OBSERVER_REPLICATE_POD_EVENTS", true),
    tailLines: read.boolean("OBSERVER_FORWARD_CRASHED_RUN_LOGS", true)
      ? read.integer("OBSERVER_FORWARD_CRASHED_RUN_LOGS_TAIL_LINES", 500, 1)
      : 0,
  };
}

/** Reads variables with the prefix. */
class Reader {
  constructor(private readonly environment: Environment) {}

  /** Returns the text of a variable; empty if it is not set. `alias` is another name without the prefix. */
  text(name: string, alias?: string): string {
    const { environment } = this;
    return (environment[prefix + name] ?? (alias === undefined ? undefined : environment[alias]) ?? "").trim();
  }

  /** Accepts pydantic's spellings. */
  boolean(name: string, whenMissing: boolean, alias?: string): boolean {
    const text = this.text(name, alias);
    if (text === "") return whenMissing;
    const value = pythonBoolean(text);
    if (value !== undefined) return value;
    throw new KubernetesSettingError(`${prefix}${name} is '${text}'. It must be true or false.`);
  }

  integer(name: string, whenMissing: number, least: number): number {
    const text = this.text(name);
    const value = text === "" ? whenMissing : Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new KubernetesSettingError(`${prefix}${name} is '${text}'. It must be a whole number of at least ${least}.`);
  }
}
