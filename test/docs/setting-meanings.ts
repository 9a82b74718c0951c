// What each setting means, in the words of docs/settings.md.
import type { SettingName } from "../../src/settings/definitions.ts";

/** The settings that a worker reads. A setting without a meaning here does not compile. */
export const settingMeanings: Readonly<Record<SettingName, string>> = {
  PREFECT_API_URL: "The API, of Cloud or self-hosted. A self-hosted one ends in `/api`.",
  PREFECT_API_KEY: "Sent as `Authorization: Bearer`. A key without a URL means Prefect Cloud.",
  PREFECT_API_AUTH_STRING: "`user:password`, sent as `Authorization: Basic`. If both are set, the key is sent.",
  PREFECT_API_KEY_FILE: "A file that contains the key. The plain setting of the same source wins.",
  PREFECT_API_AUTH_STRING_FILE: "A file that contains the auth string. The plain setting of the same source wins.",
  PREFECT_API_SSL_CERT_FILE:
    "PEM file of the certificates to trust, instead of those of Node.js. Without it, `SSL_CERT_FILE` counts.",
  PREFECT_API_TLS_INSECURE_SKIP_VERIFY: "Accepts every certificate, with a warning.",
  PREFECT_API_ENABLE_HTTP2: "Only handed on: lictor speaks HTTP/1.1.",
  PREFECT_API_REQUEST_TIMEOUT: "Seconds until a request without a response counts as lost.",
  PREFECT_CLOUD_API_URL: "The API of Prefect Cloud, above workspaces.",
  PREFECT_CLOUD_UI_URL: "The UI of Prefect Cloud, for links in messages.",
  PREFECT_CLOUD_MAX_LOG_SIZE: "On Cloud, longer log records are cut to so many bytes.",
  PREFECT_UI_URL: "The UI, for links in messages.",
  PREFECT_SILENCE_API_URL_MISCONFIGURATION: "Silences warnings about likely mistakes in `PREFECT_API_URL`.",
  PREFECT_CLIENT_MAX_RETRIES: "How often a request is repeated. Claims and states are repeated without limit.",
  PREFECT_CLIENT_RETRY_JITTER_FACTOR: "How much waits between repeated requests vary.",
  PREFECT_CLIENT_RETRY_EXTRA_CODES: "More statuses after which a request is repeated: `501,502`.",
  PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: "Sends CSRF tokens to self-hosted servers.",
  PREFECT_CLIENT_CUSTOM_HEADERS: "JSON object of headers for every request and socket.",
  PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED:
    "Only handed on: lictor checks the version of the server in `lictor doctor`.",
  PREFECT_CLIENT_METRICS_ENABLED: "Serves Prometheus metrics. See [Metrics](metrics.md#metrics).",
  PREFECT_CLIENT_METRICS_PORT: "Where metrics are served.",
  PREFECT_WORKER_HEARTBEAT_SECONDS: "Time between heartbeats.",
  PREFECT_WORKER_QUERY_SECONDS:
    "Time between regular polls, which vary by up to 30 %. Events and the times of scheduled flow runs cause further polls. While events arrive, regular polls are 12 to 13 s apart by default.",
  PREFECT_WORKER_PREFETCH_SECONDS: "How early a scheduled flow run is claimed.",
  PREFECT_WORKER_DEBUG_MODE: "Shows all log records.",
  PREFECT_WORKER_ENABLE_CANCELLATION: "Also ends cancelled flow runs whose worker is gone.",
  PREFECT_WORKER_CANCELLATION_POLL_SECONDS: "How often lictor looks for those.",
  PREFECT_WORKER_WEBSERVER_HOST: "Where `--with-healthcheck` listens.",
  PREFECT_WORKER_WEBSERVER_PORT: "The port of `--with-healthcheck`.",
  PREFECT_RUNNER_POLL_FREQUENCY:
    "Only handed on: lictor asks for cancelled flow runs every 10 s while events are missing.",
  PREFECT_RUNNER_CRASH_ON_CANCELLATION_FAILURE: "Ends the flow runs in flight if their cancellation cannot be watched.",
  PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES:
    "Engines run in the environment of their project, made by `uv`. See [Dependencies of a project](engines.md#dependencies-of-a-project).",
  PREFECT_LOGGING_LEVEL: "DEBUG, INFO, WARNING, ERROR or CRITICAL.",
  PREFECT_LOGGING_CONFIG_PATH: "Only handed on: the logging configuration of engines.",
  PREFECT_LOGGING_EXTRA_LOGGERS: "Only handed on: loggers that engines send to the API too.",
  PREFECT_LOGGING_COLORS: "Colours in log records on a terminal. `NO_COLOR` and `--no-color` switch them off too.",
  PREFECT_LOGGING_MARKUP: "Only handed on: whether engines read markup in log records.",
  PREFECT_LOGGING_LOG_PRINTS: "Only handed on: engines log what flows print.",
  PREFECT_LOGGING_TO_API_ENABLED: "Sends log records about flow runs to the server.",
  PREFECT_LOGGING_TO_API_BATCH_INTERVAL: "Seconds until log records are sent.",
  PREFECT_LOGGING_TO_API_BATCH_SIZE:
    "Largest request with log records, in bytes. lictor itself sends 1,000,000 at most unless it is set, and less if server or proxy accept less.",
  PREFECT_LOGGING_TO_API_MAX_LOG_SIZE: "Longer log records are cut to so many bytes.",
  PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "Only handed on: what engines do with log records outside of flow runs.",
  PREFECT_INTERNAL_LOGGING_LEVEL: "Only handed on: the log level of Prefect's own records.",
  PREFECT_FLOWS_HEARTBEAT_FREQUENCY:
    "Seconds between heartbeats of a flow run. If it is more than 180, set `LICTOR_LOST_AFTER_SECONDS` to more than three times its value.",
  PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE: "Only handed on.",
  PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES: "The largest event that the server takes.",
  PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE: "The most labels of a resource in an event.",
  PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: "The most related resources of an event.",
  PREFECT_SERVER_EPHEMERAL_ENABLED: "Only handed on: lictor needs `PREFECT_API_URL`.",
  PREFECT_HOME: "The directory of profiles and of lictor's state.",
  PREFECT_PROFILES_PATH: "The file of profiles.",
  PREFECT_DEBUG_MODE: "The log level is DEBUG unless it is set.",
  PREFECT_TESTING_TEST_MODE: "For tests of Prefect. The log level is DEBUG unless it is set.",
  PREFECT_TESTING_UNIT_TEST_MODE: "For tests of Prefect.",
  PREFECT_CLI_COLORS: "Colours in tables on a terminal.",
  PREFECT_CLI_WRAP_LINES: "Only handed on: lictor wraps no lines.",
  PREFECT_CLI_PROMPT: "Whether commands ask questions. By default they do on a terminal.",
};

/** lictor's own variables, with meaning and default. They are read from the environment only. */
export const lictorVariables: Readonly<Record<string, readonly [meaning: string, defaultText: string]>> = {
  LICTOR_PYTHON: [
    "The Python that runs the flows. See [Which Python](engines.md#which-python).",
    "`$VIRTUAL_ENV`, else PATH",
  ],
  LICTOR_ENGINE: ["How engines start: `auto`, `warm` or `cold`. See [Warm engines](engines.md#warm-engines).", "auto"],
  LICTOR_ENGINE_IDLE_SECONDS: ["A fork server ends after this time without a flow run.", "300"],
  LICTOR_ENGINE_LAZY: ["`true`: fork servers start with the first flow run that needs one.", "false"],
  LICTOR_PRELOAD: ["Modules that fork servers import too, such as `polars,boto3`.", ""],
  LICTOR_STATE_DIR: [
    "Where control sockets and the journal are. `worker status` and `worker drain` need the same value.",
    "`$PREFECT_HOME/lictor`",
  ],
  LICTOR_LOST_AFTER_SECONDS: [
    "How long a flow run must be silent until other workers settle it; 0 switches this off. See [Without a disk](reliability.md#without-a-disk).",
    "600",
  ],
  LICTOR_KEEP_ORPHANS: ["`true`: processes that a flow run leaves behind go on.", "false"],
  LICTOR_DEFAULT_IMAGE: ["The image of docker flow runs that name none.", "`lictor version` prints it"],
  LICTOR_DOCKER_KEEP_HOURS: ["For how long ended containers are kept; 0 removes them at once.", "24"],
};

/** Variables that lictor gives to programs whose states the worker reports, with their meaning. */
export const programVariables: Readonly<Record<string, string>> = {
  PREFECT__PARAMETERS: "The parameters of the flow run as JSON, if they are shorter than 128 kB.",
  LICTOR_PARAMETERS_FILE: "The path of a file with the parameters as JSON. Processes only.",
  LICTOR_RESULT_FILE: "The path of the file into which the program may write its result.",
  LICTOR_FLOW: "The TypeScript flow that a module runs. `lictor deploy --entrypoint` sets it.",
  LICTOR_DESCRIBE_FILE:
    "The path of the file into which a TypeScript flow describes itself for `lictor deploy`, instead of running.",
};
