// Where the value of a setting comes from.

export type OriginKind =
  | "environment"
  | ".env"
  | "prefect.toml"
  | "pyproject.toml"
  | "profile"
  | "secret file"
  | "default";

export interface Origin {
  readonly kind: OriginKind;
  /** path, where it is a file */
  readonly file?: string;
  /** as written there: "worker.query_seconds", PREFECT_WORKER_QUERY_SECONDS, an alias of it, or a group's name */
  readonly key: string;
  /** the text as written, or a TOML value as Python prints it; secrets are not hidden */
  readonly raw: string;
  /** for messages: `from profile "prod" in /root/.prefect/profiles.toml` */
  readonly description: string;
}
