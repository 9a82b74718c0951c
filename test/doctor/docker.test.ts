// What `lictor doctor` says about the engine of a docker work pool.
import { once } from "node:events";
import { symlink } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { newDockerPool } from "../docker/docker-pool.ts";
import type { DockerEngine } from "../support/engine-program.ts";
import { json, startFakeEngine } from "../support/fake-engine.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { runDoctor } from "./run-doctor.ts";

test("an engine, the URL of the API in containers, and the disk are looked at, and no Python is missed", async () => {
  await using fake = await startFakeEngine({
    "GET /containers/json": json([]),
    "GET /info": json({ DockerRootDir: "/" }),
  });
  const { name } = await newDockerPool({ host: fake.host } as DockerEngine);
  const apiUrl = inject("apiUrl");
  const diagnosis = await runDoctor({ PREFECT_API_URL: apiUrl, DOCKER_HOST: fake.host }, ["--pool", name]);
  expect(diagnosis.find("Docker engine")).toMatchObject({
    status: "pass",
    message: `${fake.host}: Docker 20.10.24, API 1.41`,
  });
  expect(diagnosis.find("API URL in containers")).toMatchObject({
    status: process.platform === "linux" ? "pass" : expect.any(String),
    message: expect.stringContaining(apiUrl),
  });
  expect(diagnosis.find("Docker disk").message).toMatch(/^[\d.]+ \w+ free in \/$/);
  expect(diagnosis.find("Python").status).toBe("skip");
  expect(diagnosis.named("fail")).toEqual([]);
});

// Windows opens the pipe of this name. Elsewhere, Node.js takes the name for that of a Unix socket in the working directory.
test.skipIf(process.platform === "win32")("an engine behind a named pipe is reached by the pipe's name", async () => {
  await using fake = await startFakeEngine({ "GET /containers/json": json([]), "GET /info": json({}) });
  const { name } = await newDockerPool({ host: fake.host } as DockerEngine);
  await using directory = await makeTemporaryDirectory();
  await symlink(fake.socketPath, join(directory.path, "\\\\.\\pipe\\docker_engine"));
  const host = "npipe:////./pipe/docker_engine";
  const env = { PREFECT_API_URL: inject("apiUrl"), DOCKER_HOST: host };
  const diagnosis = await runDoctor(env, ["--pool", name], { cwd: directory.path });
  expect(diagnosis.find("Docker engine")).toMatchObject({
    status: "pass",
    message: `${host}: Docker 20.10.24, API 1.41`,
  });
});

test("a server that containers in a network cannot reach is a failure that says what to do", async () => {
  const gateway = "127.0.0.1";
  await using fake = await startFakeEngine({
    "GET /containers/json": json([]),
    "GET /info": json({}),
    "GET /networks/one": json({ IPAM: { Config: [{ Gateway: gateway }] } }),
  });
  const variables = { type: "object", properties: { networks: { default: ["one"] } } };
  const template = { job_configuration: { networks: "{{ networks }}" }, variables };
  const { name } = await newDockerPool({ host: fake.host } as DockerEngine, { base_job_template: template });
  const env = { PREFECT_API_URL: inject("apiUrl"), DOCKER_HOST: fake.host };
  expect((await runDoctor(env, ["--pool", name])).find("API URL in containers").message).toContain(gateway);
  const elsewhere = "127.255.255.254";
  fake.answers["GET /networks/one"] = json({ IPAM: { Config: [{ Gateway: elsewhere }] } });
  const { status, message, advice } = (await runDoctor(env, ["--pool", name])).find("API URL in containers");
  expect([status, message]).toEqual(["fail", expect.stringContaining(`nothing answers on http://${elsewhere}`)]);
  expect(advice).toMatch(/--host 0\.0\.0\.0/);
  // The way to the gateway may lead somewhere else.
  const other = createServer((_, response) => void response.writeHead(404).end());
  try {
    other.listen(Number(new URL(env.PREFECT_API_URL).port), elsewhere);
    await once(other, "listening");
    const finding = (await runDoctor(env, ["--pool", name])).find("API URL in containers");
    expect(finding.status).toBe("fail");
    expect(finding.message).toContain(`something else answers (404) on http://${elsewhere}`);
  } finally {
    other.close();
  }
});

test("an engine that is not there, and one behind SSH, are failures that say what to do", async () => {
  const { name } = await newDockerPool({ host: "" } as DockerEngine);
  const diagnose = async (host: string) =>
    (await runDoctor({ PREFECT_API_URL: inject("apiUrl"), DOCKER_HOST: host }, ["--pool", name])).find("Docker engine");
  expect(await diagnose("unix:///nowhere.sock")).toMatchObject({
    status: "fail",
    message: "Cannot reach the Docker engine at unix:///nowhere.sock (ENOENT).",
    advice: "There is no such socket. Start Docker, or set DOCKER_HOST.",
  });
  expect((await diagnose("ssh://me@engine")).message).toContain("ssh -NL");
});
