// The one error of this folder: a setting, or a file that holds settings, cannot be used.
import type { Origin } from "./origin.ts";

export interface SettingsErrorDetails {
  key?: string;
  origin?: Origin;
  cause?: unknown;
}

/**
 * `message` is a single line that can be shown as it is: it names the file, table and key or the variable, what was
 * found (never the value of a secret) and what is expected.
 */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly key?: string;
  readonly origin?: Origin;

  constructor(message: string, { key, origin, cause }: SettingsErrorDetails = {}) {
    // What is named may come from a file and hold line ends itself.
    super(message.replace(/[\r\n]+/g, " "), cause === undefined ? undefined : { cause });
    if (key !== undefined) this.key = key;
    if (origin !== undefined) this.origin = origin;
  }
}
