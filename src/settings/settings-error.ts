// The only error of this folder: a setting, or a file with settings, cannot be used.
import type { Origin } from "./origin.ts";

export interface SettingsErrorDetails {
  key?: string;
  origin?: Origin;
  cause?: unknown;
}

/**
 * `message` is a single line that can be shown to the user. It names the variable, or the file, table and key. It says what
 * was found and what is expected, and never contains a secret.
 */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly key?: string;
  readonly origin?: Origin;

  constructor(message: string, { key, origin, cause }: SettingsErrorDetails = {}) {
    // A name from a file may contain line breaks.
    super(message.replace(/[\r\n]+/g, " "), cause === undefined ? undefined : { cause });
    if (key !== undefined) this.key = key;
    if (origin !== undefined) this.origin = origin;
  }
}
