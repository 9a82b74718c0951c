// One row for every setting that a worker reads. Parsing, defaults, redaction, the path in prefect.toml and the type of
// the value come from the row. Times and frequencies are in seconds, sizes in bytes.

import type { Definition, KindValues } from "./parse.ts";

/** 11 days. A timer of Node.js that is set for more than 24 days fires at once, and intervals grow when a loop backs off. */
const longestSeconds = 1_000_000;
/** 100 years. Much later times are no valid dates. */
const longestPrefetchSeconds = 3_000_000_000;

export const DEFINITIONS = {
  PREFECT_API_URL: { kind: "url", toml: "api.url", default: null },
  PREFECT_API_KEY: { kind: "credential", toml: "api.key", default: null, secret: true },
  PREFECT_API_AUTH_STRING: { kind: "credential", toml: "api.auth_string", default: null, secret: true },
  // Only lictor has these two. They name secret files, which are read if the same source does not give the secret itself.
  PREFECT_API_KEY_FILE: { kind: "path", toml: "api.key_file", default: null, fileOf: "PREFECT_API_KEY" },
  PREFECT_API_AUTH_STRING_FILE: {
    kind: "path",
    toml: "api.auth_string_file",
    default: null,
    fileOf: "PREFECT_API_AUTH_STRING",
  },
  PREFECT_API_SSL_CERT_FILE: { kind: "string", toml: "api.ssl_cert_file", default: null },
  PREFECT_API_TLS_INSECURE_SKIP_VERIFY: { kind: "boolean", toml: "api.tls_insecure_skip_verify", default: false },
  PREFECT_API_ENABLE_HTTP2: { kind: "boolean", toml: "api.enable_http2", default: false },
  PREFECT_API_REQUEST_TIMEOUT: {
    kind: "float",
    toml: "api.request_timeout",
    default: 60,
    floor: 0.1,
    ceiling: longestSeconds,
  },
  PREFECT_CLOUD_API_URL: { kind: "url", toml: "cloud.api_url", default: "https://api.prefect.cloud/api" },
  PREFECT_CLOUD_UI_URL: { kind: "url", toml: "cloud.ui_url", default: null },
  PREFECT_CLOUD_MAX_LOG_SIZE: { kind: "integer", toml: "cloud.max_log_size", default: 25_000 },
  PREFECT_UI_URL: { kind: "url", toml: "ui_url", default: null },
  PREFECT_SILENCE_API_URL_MISCONFIGURATION: {
    kind: "boolean",
    toml: "silence_api_url_misconfiguration",
    default: false,
  },
  PREFECT_CLIENT_MAX_RETRIES: { kind: "integer", toml: "client.max_retries", default: 5, min: 0 },
  // With much higher factors the formula of the jitter overflows.
  PREFECT_CLIENT_RETRY_JITTER_FACTOR: {
    kind: "float",
    toml: "client.retry_jitter_factor",
    default: 0.2,
    min: 0,
    ceiling: 50,
  },
  PREFECT_CLIENT_RETRY_EXTRA_CODES: { kind: "statusCodes", toml: "client.retry_extra_codes", default: [] },
  PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: { kind: "boolean", toml: "client.csrf_support_enabled", default: true },
  PREFECT_CLIENT_CUSTOM_HEADERS: { kind: "dictionary", toml: "client.custom_headers", default: {}, secret: true },
  PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: {
    kind: "boolean",
    toml: "client.server_version_check_enabled",
    default: true,
  },
  PREFECT_CLIENT_METRICS_ENABLED: {
    kind: "boolean",
    toml: "client.metrics.enabled",
    default: false,
    alias: "PREFECT_CLIENT_ENABLE_METRICS",
  },
  PREFECT_CLIENT_METRICS_PORT: { kind: "integer", toml: "client.metrics.port", default: 4201 },
  PREFECT_WORKER_HEARTBEAT_SECONDS: {
    kind: "float",
    toml: "worker.heartbeat_seconds",
    default: 30,
    floor: 1,
    ceiling: longestSeconds,
  },
  // Events can make a worker poll as often as the floor, too.
  PREFECT_WORKER_QUERY_SECONDS: {
    kind: "float",
    toml: "worker.query_seconds",
    default: 10,
    floor: 0.2,
    ceiling: longestSeconds,
  },
  PREFECT_WORKER_PREFETCH_SECONDS: {
    kind: "float",
    toml: "worker.prefetch_seconds",
    default: 10,
    ceiling: longestPrefetchSeconds,
  },
  PREFECT_WORKER_DEBUG_MODE: { kind: "boolean", toml: "worker.debug_mode", default: false },
  PREFECT_WORKER_ENABLE_CANCELLATION: { kind: "boolean", toml: "worker.enable_cancellation", default: false },
  PREFECT_WORKER_CANCELLATION_POLL_SECONDS: {
    kind: "float",
    toml: "worker.cancellation_poll_seconds",
    default: 120,
    floor: 1,
    ceiling: longestSeconds,
  },
  PREFECT_WORKER_WEBSERVER_HOST: { kind: "string", toml: "worker.webserver.host", default: "0.0.0.0" },
  PREFECT_WORKER_WEBSERVER_PORT: { kind: "integer", toml: "worker.webserver.port", default: 8080 },
  PREFECT_RUNNER_POLL_FREQUENCY: { kind: "integer", toml: "runner.poll_frequency", default: 10 },
  PREFECT_RUNNER_CRASH_ON_CANCELLATION_FAILURE: {
    kind: "boolean",
    toml: "runner.crash_on_cancellation_failure",
    default: false,
  },
  PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES: {
    kind: "boolean",
    toml: "runner.auto_install_dependencies",
    default: false,
  },
  PREFECT_LOGGING_LEVEL: { kind: "logLevel", toml: "logging.level", default: "INFO" },
  PREFECT_LOGGING_CONFIG_PATH: {
    kind: "path",
    toml: "logging.config_path",
    default: "$PREFECT_HOME/logging.yml",
    alias: "PREFECT_LOGGING_SETTINGS_PATH",
  },
  PREFECT_LOGGING_EXTRA_LOGGERS: { kind: "list", toml: "logging.extra_loggers", default: [] },
  PREFECT_LOGGING_COLORS: { kind: "boolean", toml: "logging.colors", default: true },
  PREFECT_LOGGING_MARKUP: { kind: "boolean", toml: "logging.markup", default: false },
  PREFECT_LOGGING_LOG_PRINTS: { kind: "boolean", toml: "logging.log_prints", default: false },
  PREFECT_LOGGING_TO_API_ENABLED: { kind: "boolean", toml: "logging.to_api.enabled", default: true },
  PREFECT_LOGGING_TO_API_BATCH_INTERVAL: {
    kind: "float",
    toml: "logging.to_api.batch_interval",
    default: 2,
    floor: 0.1,
    ceiling: longestSeconds,
  },
  PREFECT_LOGGING_TO_API_BATCH_SIZE: { kind: "integer", toml: "logging.to_api.batch_size", default: 4_000_000 },
  PREFECT_LOGGING_TO_API_MAX_LOG_SIZE: { kind: "integer", toml: "logging.to_api.max_log_size", default: 1_000_000 },
  PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: {
    kind: "choice",
    toml: "logging.to_api.when_missing_flow",
    default: "warn",
    choices: ["warn", "error", "ignore"],
  },
  PREFECT_INTERNAL_LOGGING_LEVEL: {
    kind: "logLevel",
    toml: "internal.logging_level",
    default: "ERROR",
    alias: "PREFECT_LOGGING_INTERNAL_LEVEL",
  },
  PREFECT_FLOWS_HEARTBEAT_FREQUENCY: {
    kind: "integer",
    toml: "flows.heartbeat_frequency",
    default: 180,
    min: 30,
    alias: "PREFECT_RUNNER_HEARTBEAT_FREQUENCY",
  },
  PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE: { kind: "integer", toml: "events.worker_max_queue_size", default: 0, min: 0 },
  PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES: {
    kind: "integer",
    toml: "server.events.maximum_size_bytes",
    default: 1_500_000,
    alias: "PREFECT_EVENTS_MAXIMUM_SIZE_BYTES",
  },
  PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE: {
    kind: "integer",
    toml: "server.events.maximum_labels_per_resource",
    default: 500,
    alias: "PREFECT_EVENTS_MAXIMUM_LABELS_PER_RESOURCE",
  },
  PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: {
    kind: "integer",
    toml: "server.events.maximum_related_resources",
    default: 100,
    alias: "PREFECT_EVENTS_MAXIMUM_RELATED_RESOURCES",
  },
  PREFECT_SERVER_EPHEMERAL_ENABLED: {
    kind: "boolean",
    toml: "server.ephemeral.enabled",
    default: false,
    alias: "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
  },
  PREFECT_HOME: { kind: "path", toml: "home", default: "~/.prefect" },
  PREFECT_PROFILES_PATH: { kind: "path", toml: "profiles_path", default: "$PREFECT_HOME/profiles.toml" },
  PREFECT_DEBUG_MODE: { kind: "boolean", toml: "debug_mode", default: false },
  PREFECT_TESTING_TEST_MODE: { kind: "boolean", toml: "testing.test_mode", default: false, alias: "PREFECT_TEST_MODE" },
  PREFECT_TESTING_UNIT_TEST_MODE: {
    kind: "boolean",
    toml: "testing.unit_test_mode",
    default: false,
    alias: "PREFECT_UNIT_TEST_MODE",
  },
  PREFECT_CLI_COLORS: { kind: "boolean", toml: "cli.colors", default: true },
  PREFECT_CLI_WRAP_LINES: { kind: "boolean", toml: "cli.wrap_lines", default: true },
  PREFECT_CLI_PROMPT: { kind: "boolean", toml: "cli.prompt", default: null },
} as const satisfies Readonly<Record<`PREFECT_${string}`, Definition>>;

export type SettingName = keyof typeof DEFINITIONS;

type ValueOf<D extends Definition> =
  | (D extends { choices: readonly (infer Choice)[] } ? Choice : KindValues[D["kind"]])
  | (D["default"] extends null ? null : never);

/** The value of each setting that a worker reads, by canonical name. */
export type SettingValues = { readonly [Name in SettingName]: ValueOf<(typeof DEFINITIONS)[Name]> };
