// The credentials in use. They change when the server refuses them: lictor reads a rotated secret again, and replaces a
// key that a self-hosted server does not know by the auth string.
import { monotonicMs } from "../async/clock.ts";
import { neverAborts } from "../async/never-aborts.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import type { Authorization } from "../settings/connection.ts";

/** How long lictor reads a refused secret file again. The mount of a rotated secret may need that long. */
const rotationMs = 60_000;
const rereadMs = 250;

/** The credentials from the settings. `fallback` is used when the server refuses `authorization`. */
export interface CredentialChoice {
  authorization: Authorization;
  fallback: Authorization | null;
  /** The secret is in its own file. A rotation replaces that file. */
  isInFile?: boolean;
}

/** The current credentials. The HTTP client and the sockets share them. */
export class Credentials {
  #choice: CredentialChoice;
  #current: Authorization;
  #wasAccepted = false;
  #hasReportedWait = false;
  /** The wait for a new secret, shared by all requests that were refused. */
  #rotation: Promise<void> | undefined;
  #waiting = 0;

  /**
   * `reload` reads the settings and secret files again. It returns undefined while they cannot be read. `report` gets a
   * message for the user about each change.
   */
  constructor(
    choice: CredentialChoice,
    private readonly reload: () => CredentialChoice | undefined = () => choice,
    private readonly report: (message: string) => void = () => {},
  ) {
    this.#choice = choice;
    this.#current = choice.authorization;
  }

  /** The credentials for the next request. */
  get current(): Authorization {
    return this.#current;
  }

  /** True if the server may refuse the current secret only because its file is being rotated. */
  get mayRotate(): boolean {
    return this.#wasAccepted && this.#choice.isInFile === true;
  }

  /** Notes that the server accepted the current credentials. */
  markAccepted(): void {
    this.#wasAccepted = true;
  }

  /**
   * The server refused `used` with 401. Returns true if there are other credentials to send now. Waits up to a minute
   * for a new secret if `mayRotate`. Requests that are refused at the same time share one wait. An abort ends it for
   * its request.
   */
  async waitForReplacement(used: Authorization, signal: AbortSignal): Promise<boolean> {
    if (this.#current.header !== used.header) return true;
    if (this.#rotation === undefined) {
      if (this.tryReplace(used)) return true;
      if (!this.mayRotate || signal.aborted) return false;
      this.#rotation = this.#waitForNewSecret(used).finally(() => {
        this.#rotation = undefined;
      });
    }
    this.#waiting++;
    await waitAtMost(this.#rotation, rotationMs, signal);
    this.#waiting--;
    return this.#current.header !== used.header;
  }

  /** Reads the settings again until there is another secret, a minute has passed, or no request waits. */
  async #waitForNewSecret(used: Authorization): Promise<void> {
    if (!this.#hasReportedWait)
      this.report(`The server refused ${used.origin}; waiting ${rotationMs / 1000} s for a new one.`);
    this.#hasReportedWait = true;
    const until = monotonicMs() + rotationMs;
    do await sleep(rereadMs, neverAborts);
    while (this.#waiting > 0 && monotonicMs() < until && !this.tryReplace(used));
    if (this.#current.header !== used.header) this.#hasReportedWait = false;
  }

  /**
   * The server refused `used` with 401. Returns true if there are other credentials to send now. They are those that
   * another caller has found, a rotated secret, or the fallback.
   */
  tryReplace(used: Authorization): boolean {
    if (this.#current.header !== used.header) return true;
    const choice = this.reload() ?? this.#choice;
    if (choice.authorization.header !== this.#choice.authorization.header) {
      this.report(`The server refused ${used.origin}; going on with its new value.`);
      this.#choice = choice;
      this.#current = choice.authorization;
      return true;
    }
    const { fallback } = choice;
    if (fallback === null || fallback.header === used.header) return false;
    this.report(`The server refused ${used.origin}; going on with ${fallback.origin} as Basic.`);
    this.#current = fallback;
    return true;
  }
}
