// Settings that lictor understands although they are written carelessly: an engine has to understand them too.
import { inject, test } from "vitest";
import { prefectApi } from "../support/prefect-api.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { startWorker } from "../support/start-worker.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

test.each([
  ["white space around it and slashes at its end", (url: string) => ` ${url}// \n`],
  ["a line break within", (url: string) => url.replace("127.", "127\n.")],
  ["a single slash behind the scheme", (url: string) => url.replace("http://", "HTTP:/")],
])("an engine reaches the API by a URL with %s", async (_, written) => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  await using _worker = await startWorker(pool, { apiUrl: written(inject("apiUrl")) });
  const { id } = await api.createFlowRun(deployment);
  await api.waitForState(id, ["COMPLETED"], 60_000);
});

test("an engine reaches the API by a URL that comes with other settings in the variable of a group", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  const group = JSON.stringify({ url: ` ${inject("apiUrl")}/ `, request_timeout: 30 });
  await using _worker = await startWorker(pool, { apiUrl: "http://127.0.0.1:9/api", env: { PREFECT_API: group } });
  const { id } = await api.createFlowRun(deployment);
  await api.waitForState(id, ["COMPLETED"], 60_000);
});

test("an engine reaches the API with an auth string and a proxy variable that have white space around them", async () => {
  needsPrefect("3.1.8", "the auth string");
  const authString = "admin:marked-password-5d1";
  await using server = await startPrefectServer({ authString });
  const headers = { authorization: `Basic ${Buffer.from(authString).toString("base64")}` };
  const api = prefectApi(server.apiUrl, { headers });
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  await using _worker = await startWorker(pool, {
    apiUrl: server.apiUrl,
    env: {
      PREFECT_API_AUTH_STRING: `\t${authString}\n`,
      HTTP_PROXY: " http://127.0.0.1:9\n",
      NO_PROXY: "127.0.0.1 localhost",
    },
  });
  const { id } = await api.createFlowRun(deployment);
  await api.waitForState(id, ["COMPLETED"], 60_000);
});
