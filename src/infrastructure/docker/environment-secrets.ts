// Hides the environment of a container in what the engine says of it. An engine, a plugin or a proxy may repeat a request.
import { SecretTexts } from "../../secret-texts.ts";
import { EngineError } from "./engine/engine-error.ts";

/** Hides the environment in texts and errors. */
export class EnvironmentSecrets {
  readonly #secrets = new SecretTexts();

  /**
   * `environment` has the form `NAME=value`. A value that is a part of one of `shown` is not hidden alone, because messages
   * name those, for example the image.
   */
  constructor(environment: readonly string[], shown: readonly string[] = []) {
    const values = environment.map((entry) => entry.slice(entry.indexOf("=") + 1));
    const isShown = (value: string): boolean => shown.some((text) => text.includes(value));
    this.#secrets.add([...environment, ...values.filter((value) => !isShown(value))]);
  }

  /** Returns the text without the environment. */
  hideIn(text: string): string {
    return this.#secrets.redact(text);
  }

  /** Hides the environment in an error and its causes, because the log has their stacks. Returns the error. */
  hideInError(error: unknown): unknown {
    for (let current = error; current instanceof Error; current = current.cause) {
      const { message, stack } = current;
      current.message = this.hideIn(message);
      if (stack !== undefined) current.stack = this.hideIn(stack);
      if (current instanceof EngineError) current.text = this.hideIn(current.text);
    }
    return error;
  }
}
