// The work pool's base job template: whose it is, when a change of it counts, and job variables that do not fit it.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { Json, JsonObject } from "../../src/api/wire.ts";
import { processBaseJobTemplate } from "../../src/infrastructure/process/base-job-template.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

/** A template that starts this command, whatever the job variables. */
function templateFor(command: string): JsonObject {
  return { job_configuration: { command, env: "{{ env }}" }, variables: { properties: { env: {} } } };
}

const print = (what: string): string => `${process.execPath} -p "'${what}'"`;

describe("the base job template", () => {
  test("of a file is for a pool that has none, and never replaces one", async () => {
    await using directory = await makeTemporaryDirectory("lictor-template-");
    const file = join(directory.path, "template.json");
    await writeFile(file, JSON.stringify(templateFor("from-file")));
    const api = sharedApi();
    const bare = await newPool(api);
    const own = await newPool(api, { base_job_template: templateFor("own") });
    expect((await api.readWorkPool(bare)).base_job_template).toEqual({});
    const options = { apiUrl: inject("apiUrl"), args: ["--base-job-template", file] };
    await using _first = await startWorker(bare, options);
    await waitFor(async () => "variables" in (await api.readWorkPool(bare)).base_job_template, {
      timeoutMs: 20_000,
      what: "the bare pool to get a template",
    });
    expect((await api.readWorkPool(bare)).base_job_template).toEqual(templateFor("from-file"));
    await using second = await startWorker(own, options);
    await waitFor(async () => (await api.readWorkers(own)).length === 1, { timeoutMs: 20_000, what: "a heartbeat" });
    second.signal("SIGTERM");
    await second.exited;
    expect((await api.readWorkPool(own)).base_job_template).toEqual(templateFor("own"));
  });

  test("counts for the next flow run once REST has brought its change, and not for the one that runs", async () => {
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onUpgrade: ({ path }) => (path.endsWith("/workers/connect") ? 403 : undefined),
    });
    const api = sharedApi();
    const waiting = `${process.execPath} -e "console.log('old begins');setTimeout(()=>console.log('old ends'),6000)"`;
    const pool = await newPool(api, { base_job_template: templateFor(waiting) });
    const deployment = await deploy(api, pool, "hello");
    const env = { PREFECT_WORKER_HEARTBEAT_SECONDS: "1" };
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env });
    await api.createFlowRun(deployment);
    await worker.waitForOutput(/^old begins$/m, 20_000);
    await api.updateWorkPool(pool, { base_job_template: templateFor(print("new")) });
    const polled = () => proxy.count("GET", `/work_pools/${pool}`);
    const before = polled();
    await waitFor(() => polled() >= before + 2, { timeoutMs: 20_000, what: "the pool to be read again" });
    await api.createFlowRun(deployment);
    await worker.waitForOutput(/^new$/m, 20_000);
    await worker.waitForOutput(/^old ends$/m, 20_000);
    expect(worker.stdout.match(/^old begins$/gm)).toHaveLength(1);
  });
});

describe("job variables", () => {
  test("that break the pool's schema are refused by the server, so that no flow run comes of them", async () => {
    const api = sharedApi();
    const pool = await newPool(api, { base_job_template: processBaseJobTemplate });
    await expect(deploy(api, pool, "hello", { jobVariables: { stream_output: "maybe" } })).rejects.toThrow(
      /: 4(09|22) .*stream_output/,
    );
    const deployment = await deploy(api, pool, "hello");
    await expect(api.createFlowRun(deployment, { jobVariables: { labels: { a: 1 } } })).rejects.toThrow(
      /: 4(09|22) .*labels/,
    );
  });

  const wrong: [key: string, value: Json, expected: string][] = [
    ["stream_output", "maybe", '"stream_output" is "maybe", but true or false is expected.'],
    ["labels", { a: 1 }, '"labels.a" is 1, but a string is expected.'],
    ["env", "A=secret", '"env" is a string, but an object is expected.'],
  ];
  test.each(wrong)(
    "of a wrong type, %s as %j, crash their flow run where the schema lets them through",
    async (key, value, expected) => {
      const api = sharedApi();
      const template = { job_configuration: { [key]: `{{ ${key} }}` }, variables: { properties: { [key]: {} } } };
      const pool = await newPool(api, { base_job_template: template });
      const deployment = await deploy(api, pool, "hello", { jobVariables: { [key]: value } });
      await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
      const { id } = await api.createFlowRun(deployment);
      const { flowRun } = await api.waitForState(id, ["CRASHED"], 30_000);
      expect(flowRun.state?.message).toBe(
        `Failed to submit flow run to infrastructure: JobConfigurationError: Job configuration key ${expected}`,
      );
    },
  );

  test("may refer to a block document, whose data take its place", async () => {
    const api = sharedApi();
    const basepath = `/blocks/${randomUUID()}`;
    const document = await api.createBlock("local-file-system", `ref-${randomUUID().slice(0, 8)}`, { basepath });
    const command = `${process.execPath} -p "'block has '+process.env.FROM_BLOCK"`;
    // The default template's schema takes texts only.
    const properties = { command: {}, env: {} };
    const job_configuration = { command: "{{ command }}", env: "{{ env }}" };
    const pool = await newPool(api, { base_job_template: { job_configuration, variables: { properties } } });
    const env = { FROM_BLOCK: { $ref: { block_document_id: document } } };
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command, env } });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    await api.createFlowRun(deployment);
    await worker.waitForOutput(/^block has /m, 20_000);
    expect(worker.stdout).toContain(`'basepath': '${basepath}'`);
  });

  test("that refer to a block that does not exist crash their flow run", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const env = { A: "{{ prefect.blocks.secret.nowhere-to-be-found }}" };
    const deployment = await deploy(api, pool, "hello", { jobVariables: { env } });
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const { id } = await api.createFlowRun(deployment);
    const { flowRun } = await api.waitForState(id, ["CRASHED"], 30_000);
    expect(flowRun.state?.message).toMatch(/^Failed to submit flow run to infrastructure: .*nowhere-to-be-found/);
  });
});
