// Where a flow's code comes from: the deployment's path, pull steps, storage blocks. It is the engine that fetches it,
// in the directory and with the environment that the worker gives it.
import { randomUUID } from "node:crypto";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { newPool, sharedApi } from "./deployments.ts";

const RUN_TIMEOUT_MS = 60_000;
const FLOWS = inCheckout("test/fixtures/flows");
const STEPS = "prefect.deployments.steps";

/** Runs a flow of that code once; gives what the worker printed and how its flow run ended. */
async function run(code: {
  entrypoint?: string;
  path?: string;
  pullSteps?: JsonObject[];
  storageBlockId?: string;
  jobVariables?: JsonObject;
}): Promise<{ output: string; end: string; message: string | null | undefined }> {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await api.createDeployment({
    flowName: "where",
    name: "where",
    workPool: pool,
    entrypoint: "where.py:where",
    ...code,
  });
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
  const { id } = await api.createFlowRun(deployment);
  const { flowRun } = await api.waitForState(id, ["COMPLETED", "FAILED", "CRASHED"], RUN_TIMEOUT_MS);
  // Its last lines are there when the worker has ended.
  worker.signal("SIGTERM");
  await worker.exited;
  return {
    output: `${worker.stdout}${worker.stderr}`,
    end: flowRun.state_type ?? "",
    message: flowRun.state?.message,
  };
}

describe("a flow run's code", () => {
  test("is copied from the deployment's path into the temporary directory it runs in", async () => {
    const { end, output } = await run({ path: FLOWS });
    expect(end, output).toBe("COMPLETED");
    expect(output).toMatch(/^ran .*\/lictor-flow-run-\w+\/where\.py in .*\/lictor-flow-run-\w+$/m);
  });

  test("is used where it is when a pull step goes there", async () => {
    const { end, output } = await run({ pullSteps: [{ [`${STEPS}.set_working_directory`]: { directory: FLOWS } }] });
    expect(end, output).toBe("COMPLETED");
    expect(output).toContain(`ran ${FLOWS}/where.py in ${FLOWS}\n`);
  });

  test("is fetched by a shell script, with the flow run's environment, in its directory", async () => {
    needsPrefect("3.4.19", "relative working directories in pull steps");
    const { end, output } = await run({
      jobVariables: { env: { CODE_FROM: FLOWS } },
      pullSteps: [
        { [`${STEPS}.run_shell_script`]: { script: 'sh -c "mkdir fetched && cp $CODE_FROM/where.py fetched/"' } },
        { [`${STEPS}.set_working_directory`]: { directory: "fetched" } },
      ],
    });
    expect(end, output).toBe("COMPLETED");
    expect(output).toMatch(/^ran .*\/lictor-flow-run-\w+\/fetched\/where\.py in .*\/fetched$/m);
  });

  test("ends its flow run as Crashed when a pull step fails", async () => {
    const { end, output, message } = await run({ pullSteps: [{ [`${STEPS}.run_shell_script`]: { script: "false" } }] });
    expect(end).toBe("CRASHED");
    expect(message).toBe("Process exited with status code: 1. Process exited with a general error.");
    expect(output).toContain("run_shell_script");
  });

  // Prefect refuses `file://`; `local://` is another name for it, which takes a path from the working directory.
  test.each([
    { type: "local-file-system", basepath: (directory: string) => join(directory, "stored") },
    { type: "remote-file-system", basepath: () => "local://stored" },
  ])("comes from a storage block of type $type", async ({ type, basepath }) => {
    await using directory = await makeTemporaryDirectory("lictor-storage-");
    await mkdir(join(directory.path, "stored"));
    await copyFile(join(FLOWS, "where.py"), join(directory.path, "stored", "where.py"));
    const storageBlockId = await sharedApi().createBlock(type, `storage-${randomUUID().slice(0, 8)}`, {
      basepath: basepath(directory.path),
    });
    const { end, output } = await run({ storageBlockId, jobVariables: { working_dir: directory.path } });
    expect(end, output).toBe("COMPLETED");
    expect(output).toContain(`ran ${directory.path}/where.py in ${directory.path}\n`);
  });

  test("may be a module of the engine's Python", async () => {
    const { end, output } = await run({
      entrypoint: "where.where",
      jobVariables: { env: { PYTHONPATH: FLOWS } },
    });
    expect(end, output).toBe("COMPLETED");
    expect(output).toContain(`ran ${FLOWS}/where.py in `);
  });
});
