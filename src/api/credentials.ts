// Which credentials are in use. They change when the server refuses them: a rotated secret is read again, and a key that
// a self-hosted server does not know gives way to the auth string.
import type { Authorization } from "../settings/connection.ts";

/** The credentials that the settings give: what to send, and what to go on with when the server refuses that. */
export interface CredentialChoice {
  authorization: Authorization;
  fallback: Authorization | null;
}

/** The credentials of one worker, shared by its HTTP client and its sockets. */
export class Credentials {
  #choice: CredentialChoice;
  #current: Authorization;

  /** `reload` reads the settings again, secret files included; `say` tells the user of a change. */
  constructor(
    choice: CredentialChoice,
    private readonly reload: () => CredentialChoice = () => choice,
    private readonly say: (message: string) => void = () => {},
  ) {
    this.#choice = choice;
    this.#current = choice.authorization;
  }

  get current(): Authorization {
    return this.#current;
  }

  /**
   * The server refused `used` (401). True when there is something else to send now: what another caller has found
   * meanwhile, a secret that was rotated, or the fallback.
   */
  refused(used: Authorization): boolean {
    if (this.#current.header !== used.header) return true;
    const choice = this.reload();
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
