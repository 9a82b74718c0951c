// A value that must not appear in log records, such as the credentials of a cluster.

/** Holds a value. JSON of it is empty. */
export class Undisclosed<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** Returns the value. */
  reveal(): T {
    return this.#value;
  }
}
