// Whether an engine gets a size for its requests with log records.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type EngineEnvironment, logBatchVariables } from "../../src/program/log-batch-size.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const given = { PREFECT_LOGGING_TO_API_BATCH_SIZE: "1040000" };

/** Returns the variables for an engine in an empty directory. */
async function variablesFor(changes: Partial<EngineEnvironment>): Promise<Record<string, string>> {
  await using directory = await makeTemporaryDirectory("lictor-log-batch-");
  return await logBatchVariables({ command: null, cwd: directory.path, env: {}, workerEnv: {}, ...changes });
}

describe("an engine gets a batch size", () => {
  const rows: [when: string, changes: Partial<EngineEnvironment>][] = [
    ["by default", {}],
    ["with the profile of the worker", { env: { PREFECT_PROFILE: "a" }, workerEnv: { PREFECT_PROFILE: "a" } }],
    ["with other settings of log records", { env: { PREFECT_LOGGING_TO_API_ENABLED: "true" } }],
  ];
  test.each(rows)("%s", async (_when, changes) => {
    expect(await variablesFor(changes)).toEqual(given);
  });
});

describe("an engine gets no batch size", () => {
  const rows: [when: string, changes: Partial<EngineEnvironment>][] = [
    ["if one is set", { env: { PREFECT_LOGGING_TO_API_BATCH_SIZE: "4000000" } }],
    ["if it is set in small letters", { env: { prefect_logging_to_api_batch_size: "4000000" } }],
    ["if the size of a record is set", { env: { PREFECT_LOGGING_TO_API_MAX_LOG_SIZE: "2000000" } }],
    ["if the group of the sizes is set", { env: { PREFECT_LOGGING_TO_API: '{"max_log_size": 2000000}' } }],
    ["with a profile of its own", { env: { PREFECT_PROFILE: "b" }, workerEnv: { PREFECT_PROFILE: "a" } }],
    ["if a command starts it", { command: ["sh", "-c", "python -m prefect.engine"] }],
  ];
  test.each(rows)("%s", async (_when, changes) => {
    expect(await variablesFor(changes)).toEqual({});
  });

  test.each([".env", "prefect.toml", "pyproject.toml"])("if its working directory has a file %s", async (name) => {
    await using directory = await makeTemporaryDirectory("lictor-log-batch-");
    await writeFile(join(directory.path, name), "");
    expect(await variablesFor({ cwd: directory.path })).toEqual({});
  });

  test("if its project installs dependencies", async () => {
    await using directory = await makeTemporaryDirectory("lictor-log-batch-");
    await writeFile(join(directory.path, "uv"), "", { mode: 0o755 });
    const env = { PATH: directory.path, PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES: "true" };
    expect(await variablesFor({ env })).toEqual({});
  });
});
