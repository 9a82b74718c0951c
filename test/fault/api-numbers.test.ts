// Numbers of the API's answers on their way into the environment of a flow run.
import { expect, test } from "vitest";
import { findDeployment } from "../../src/api/deployments.ts";
import { findVariable, readBlockDocument } from "../../src/api/references.ts";
import { createWorkPool, findWorkPool, getScheduledFlowRuns, updateBaseJobTemplate } from "../../src/api/work-pools.ts";
import { pythonText } from "../../src/python-text.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { openTestClient } from "./test-client.ts";

const numbers = '{"a":1.0,"b":12345678901234567890,"c":1e16}';
const python = "{'a': 1.0, 'b': 12345678901234567890, 'c': 1e+16}";
const pool = `{"id":"i","name":"p","type":"process","base_job_template":${numbers},"is_paused":false}`;

test("job variables, templates, blocks and variables keep the texts of their numbers", async () => {
  const run = `{"id":"r","name":"n","flow_id":"f","tags":[],"job_variables":${numbers}}`;
  await using server = await startScriptedServer({
    http: {
      "GET /api/work_pools/p": [{ body: pool }],
      "GET /api/deployments/d": [{ body: `{"id":"d","name":"n","job_variables":${numbers}}` }],
      "POST /api/work_pools/p/get_scheduled_flow_runs": [{ body: `[{"flow_run":${run}}]` }],
      "GET /api/block_types/slug/t/block_documents/name/b": [{ body: `{"data":${numbers}}` }],
      "GET /api/variables/name/v": [{ body: `{"value":${numbers}}` }],
    },
  });
  using api = openTestClient(server.url);
  const query = { workQueueNames: [], scheduledBefore: new Date(0) };
  const [scheduled] = await getScheduledFlowRuns(api, "p", query);
  const read = [
    (await findWorkPool(api, "p"))?.base_job_template,
    (await findDeployment(api, "d"))?.job_variables,
    scheduled?.flow_run.job_variables,
    await readBlockDocument(api, "t", "b"),
    await findVariable(api, "v"),
  ];
  expect(read.map(pythonText)).toEqual(Array.from({ length: 5 }, () => python));
});

test("a template that was read goes back to the server as it came", async () => {
  await using server = await startScriptedServer({
    http: {
      "GET /api/work_pools/p": [{ body: pool }],
      "PATCH /api/work_pools/p": [{ status: 204 }],
      "POST /api/work_pools/": [{ body: pool }],
    },
  });
  using api = openTestClient(server.url);
  const template = (await findWorkPool(api, "p"))?.base_job_template ?? {};
  await updateBaseJobTemplate(api, "p", template);
  await createWorkPool(api, { name: "p", type: "process", base_job_template: template });
  expect(server.requests.slice(1).map(({ body }) => body)).toEqual([
    `{"base_job_template":${numbers}}`,
    `{"name":"p","type":"process","base_job_template":${numbers}}`,
  ]);
});
