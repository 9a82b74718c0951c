// What a worker tells Prefect Cloud of itself, compared with the reference's worker.
import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, inject, test } from "vitest";
import { startLictor } from "../support/lictor.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { newPool, sharedApi } from "./deployments.ts";

/** A folder for PYTHONPATH with a package of Prefect's collections in it, as an installer would leave it. */
async function makeCollection(name: string, version: string) {
  const directory = await makeTemporaryDirectory("lictor-collection-");
  const module = name.replace("-", "_");
  const info = join(directory.path, `${module}-${version}.dist-info`);
  await mkdir(info);
  await writeFile(join(directory.path, `${module}.py`), "");
  await writeFile(join(info, "METADATA"), `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n`);
  await writeFile(join(info, "entry_points.txt"), `[prefect.collections]\n${module} = ${module}\n`);
  return directory;
}

test.each(["lictor", "the reference"])("Cloud is told once which integrations %s has", async (worker) => {
  if (worker !== "lictor") needsPrefect("3.9.0", "the worker that lictor is like");
  await using collection = await makeCollection("prefect-marked", "1.2.3");
  const pool = await newPool(sharedApi());
  const cloud = { key: `pnu_${randomUUID()}`, accountId: randomUUID(), workspaceId: randomUUID() };
  // Without the worker channel it is the heartbeats that tell.
  await using gateway = await startReverseProxy(inject("apiUrl"), {
    cloud,
    onUpgrade: ({ path }) => (path.endsWith("/connect") ? 403 : undefined),
  });
  const args = ["worker", "start", "--pool", pool, "--type", "process"];
  const env = {
    PREFECT_API_URL: gateway.apiUrl,
    PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
    PREFECT_API_KEY: cloud.key,
    PREFECT_WORKER_HEARTBEAT_SECONDS: "1",
    PYTHONPATH: collection.path,
  };
  await using _worker =
    worker === "lictor"
      ? await startLictor([...args, "--python", inject("python")], { env })
      : await startLictor(args, { env, command: [join(dirname(inject("python")), "prefect")] });
  const heartbeats = () => gateway.requests.filter(({ path }) => path.endsWith("/workers/heartbeat"));
  const told = () => heartbeats().map(({ body }) => (JSON.parse(body) as { metadata?: unknown }).metadata);
  // A server on SQLite may refuse one, which is then repeated as it was.
  await waitFor(() => told().length > 1 && told().at(-1) === undefined, {
    timeoutMs: 60_000,
    what: "a heartbeat that does not tell it again",
  });
  expect(told()[0]).toEqual({ integrations: [{ name: "prefect-marked", version: "1.2.3" }] });
});
