// Which credentials are in use. They change when the server refuses them: a rotated secret is read again, and a key that
// a self-hosted server does not know gives way to the auth string.

import { monotonicMs } from "../async/clock.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import type { Authorization } from "../settings/connection.ts";

/** How long a refused secret in a file is read again: what mounts it may take that long to bring the new one. */
const rotationMs = 60_000;
const rereadMs = 250;

/** The watch ends by itself. */
const never = new AbortController().signal;

/** The credentials that the settings give: what to send, and what to go on with when the server refuses that. */
export interface CredentialChoice {
  authorization: Authorization;
  fallback: Authorization | null;
  /** The secret stands in a file of its own, which is written anew when it is rotated. */
  isInFile?: boolean;
}

/** The credentials of one worker, shared by its HTTP client and its sockets. */
export class Credentials {
  #choice: CredentialChoice;
  #current: Authorization;
  #wasAccepted = false;
  #saidThatItWaits = false;
  /** Reads a secret again for all requests that wait for it. */
  #rotation: Promise<void> | undefined;
  #waiting = 0;

  /**
   * `reload` reads the settings again, secret files included, and gives undefined when they cannot be read just now; `say`
   * tells the user of a change.
   */
  constructor(
    choice: CredentialChoice,
    private readonly reload: () => CredentialChoice | undefined = () => choice,
    private readonly say: (message: string) => void = () => {},
  ) {
    this.#choice = choice;
    this.#current = choice.authorization;
  }

  get current(): Authorization {
    return this.#current;
  }

  /** A refusal of what is current may be that of a secret in a file that is just being rotated. */
  get mayRotate(): boolean {
    return this.#wasAccepted && this.#choice.isInFile === true;
  }

  /** The server took what is current. */
  accepted(): void {
    this.#wasAccepted = true;
  }

  /**
   * As `refused`, but a secret in a file that the server took before is read again for a minute, because it may be being rotated.
   * Requests that are refused at the same time share that. An abort ends the wait of its request.
   */
  async replaced(used: Authorization, signal: AbortSignal): Promise<boolean> {
    if (this.#current.header !== used.header) return true;
    if (this.#rotation === undefined) {
      if (this.refused(used)) return true;
      if (!this.mayRotate || signal.aborted) return false;
      this.#rotation = this.#watch(used).finally(() => {
        this.#rotation = undefined;
      });
    }
    this.#waiting++;
    await waitAtMost(this.#rotation, rotationMs, signal);
    this.#waiting--;
    return this.#current.header !== used.header;
  }

  /** Reads the settings again until there is another secret, a minute has passed, or nobody waits any more. */
  async #watch(used: Authorization): Promise<void> {
    if (!this.#saidThatItWaits)
      this.say(`The server refused ${used.origin}; waiting ${rotationMs / 1000} s for a new one.`);
    this.#saidThatItWaits = true;
    const until = monotonicMs() + rotationMs;
    do await sleep(rereadMs, never);
    while (this.#waiting > 0 && monotonicMs() < until && !this.refused(used));
    if (this.#current.header !== used.header) this.#saidThatItWaits = false;
  }

  /**
   * The server refused `used` (401). True when there is something else to send now: what another caller has found
   * meanwhile, a secret that was rotated, or the fallback.
   */
  refused(used: Authorization): boolean {
    if (this.#current.header !== used.header) return true;
    const choice = this.reload() ?? this.#choice;
    if (choice.authorization.header !== this.#choice.authorization.header) {
      this.say(`The server refused ${used.origin}; going on with its new value.`);
      this.#choice = choice;
      this.#current = choice.authorization;
      return true;
    }
    const { fallback } = choice;
    if (fallback === null || fallback.header === used.header) return false;
    this.say(`The server refused ${used.origin}; going on with ${fallback.origin} as Basic.`);
    this.#current = fallback;
    return true;
  }
}
