// Hides secrets in the program's output: which texts are secret, and in which fields of a log record they are hidden.

/**
 * A shorter secret is not hidden in text, because it would also hide unrelated words and numbers. For example, a header
 * `X-Tenant: 1` would hide every 1. Secret settings are never printed, whatever their length.
 */
const MIN_LENGTH = 6;

const MASK = "********";

/** Fields of a log record that hold only lictor's own words, numbers and ids. They are never changed. */
const OWN_FIELDS: ReadonlySet<string> = new Set(["level", "time", "name", "flow_run_id", "flow_run_ids", "state_type"]);

/** The texts that must not be shown. */
export class SecretTexts {
  readonly #forms = new Set<string>();
  /**
   * Matches any of the forms. The longest is tried first, because a form may contain another. Undefined without
   * secrets.
   */
  #pattern: RegExp | undefined;

  /** Adds secrets. Ignores those that are too short. */
  add(secrets: readonly string[]): void {
    for (const secret of secrets) for (const form of formsOf(secret)) this.#forms.add(form);
    const longestFirst = [...this.#forms].sort((a, b) => b.length - a.length);
    this.#pattern = longestFirst.length === 0 ? undefined : new RegExp(longestFirst.map(escaped).join("|"), "g");
  }

  /** Returns `text` with every secret replaced by eight asterisks. */
  redact(text: string): string {
    return this.#pattern === undefined ? text : text.replace(this.#pattern, MASK);
  }

  /** Returns true if `text` contains a secret. */
  isIn(text: string): boolean {
    return this.#pattern !== undefined && text.search(this.#pattern) >= 0;
  }

  /** Returns the log record without secrets in its message, error and other fields, at any depth, including keys. */
  redactRecord<T extends object>(record: T): T {
    const entries = Object.entries(record).map(([key, value]) =>
      OWN_FIELDS.has(key) ? [key, value] : [this.redact(key), this.#redactValue(value)],
    );
    return Object.fromEntries(entries) as T;
  }

  #redactValue(value: unknown): unknown {
    if (typeof value === "string") return this.redact(value);
    if (Array.isArray(value)) return value.map((item) => this.#redactValue(item));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).map(([key, item]) => [this.redact(key), this.#redactValue(item)]);
    return Object.fromEntries(entries);
  }
}

/** Returns the secret as it appears in text, in JSON, in JSON within a JSON string, and in a URL. */
function formsOf(secret: string): string[] {
  if (secret.length < MIN_LENGTH) return [];
  const inJson = withinJson(secret);
  // encodeURIComponent throws for half of a surrogate pair. A buffer replaces it.
  const wellFormed = Buffer.from(secret, "utf8").toString("utf8");
  return [secret, inJson, withinJson(inJson), encodeURIComponent(wellFormed)];
}

function withinJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
