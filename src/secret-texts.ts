// Secrets in what the program writes: which texts are hidden, and where in a log record.

/**
 * A shorter secret is not hidden in running text. It would blot out unrelated words and numbers, as the value of a header
 * `X-Tenant: 1` would in every line. Settings that are secret are never printed, whatever their length.
 */
const LEAST_LENGTH = 6;

const MASK = "********";

/** Fields of a log record that lictor fills with its own words, numbers and ids. They are never changed. */
const OWN_FIELDS: ReadonlySet<string> = new Set(["level", "time", "name", "flow_run_id", "flow_run_ids", "state_type"]);

/** The texts that must not be shown. */
export class SecretTexts {
  readonly #forms = new Set<string>();
  /** Matches any of the forms, the longest first because one may be a part of another. Undefined without any. */
  #pattern: RegExp | undefined;

  /** Adds secrets; those that are too short are ignored. */
  add(secrets: readonly string[]): void {
    for (const secret of secrets) for (const form of formsOf(secret)) this.#forms.add(form);
    const longestFirst = [...this.#forms].sort((a, b) => b.length - a.length);
    this.#pattern = longestFirst.length === 0 ? undefined : new RegExp(longestFirst.map(escaped).join("|"), "g");
  }

  /** Replaces every secret in `text` by eight asterisks. */
  redact(text: string): string {
    return this.#pattern === undefined ? text : text.replace(this.#pattern, MASK);
  }

  /** Whether there is a secret anywhere in `text`. */
  isIn(text: string): boolean {
    return this.#pattern !== undefined && text.search(this.#pattern) >= 0;
  }

  /** The log record without secrets in its message, error and other fields, at any depth, keys included. */
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

/** The secret as it appears in a text, in a URL, in JSON, and in JSON within a JSON string. */
function formsOf(secret: string): string[] {
  if (secret.length < LEAST_LENGTH) return [];
  const inJson = withinJson(secret);
  // Half of a surrogate pair cannot be encoded; a buffer replaces it.
  const wellFormed = Buffer.from(secret, "utf8").toString("utf8");
  return [secret, inJson, withinJson(inJson), encodeURIComponent(wellFormed)];
}

function withinJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
