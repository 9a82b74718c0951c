// The environment of a container must not be in the errors about it.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { EnvironmentSecrets } from "../../src/infrastructure/docker/environment-secrets.ts";
import { type EngineRequest, failure, json, startFakeEngine } from "../support/fake-engine.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { labelsOf, openFakeDocker } from "./fake-docker.ts";

const env = { TOKEN: 'to"ken-1', IMAGE: "image-of-all", SHORT: "abc" };
const id = "c".repeat(64);

/** Repeats the request, as some plugins and proxies do. */
const repeat = (response: never, request: EngineRequest): void =>
  failure(403, `denied for image-of-all: ${request.body}`)(response, request);

test("an engine that repeats the create call in its refusal does not publish the environment", async () => {
  await using config = await makeTemporaryDirectory();
  const proxies = { default: { httpProxy: "http://me:proxy-word@proxy" } };
  await writeFile(join(config.path, "config.json"), JSON.stringify({ proxies }));
  await using fake = await startFakeEngine({ "POST /containers/create": repeat as never });
  using docker = await openFakeDocker(fake, { DOCKER_CONFIG: config.path });
  const job = docker.jobOf({ env, image: "image-of-all", image_pull_policy: "Never" });
  const error = await docker.infrastructure.start(job, docker.options).catch((thrown: unknown) => thrown);
  expect((error as Error).message).toContain("Container could not be created: denied for image-of-all: {");
  expect(fake.requests.at(-1)?.body).toContain("proxy-word");
  // `inspect` also shows the stack and the causes.
  const shown = inspect(error, { depth: 9 });
  for (const secret of ["ken-1", "abc", "proxy-word"]) expect(shown).not.toContain(secret);
});

test("nor does the reason that the engine has for the end of a container", async () => {
  const state = {
    Status: "exited",
    ExitCode: 127,
    OOMKilled: false,
    Error: "exec: token-1: not found.",
    FinishedAt: "",
  };
  const details = {
    Id: id,
    Name: "/fake",
    State: state,
    Config: { Labels: labelsOf(), Tty: false, Env: ["TOKEN=token-1"] },
    HostConfig: {},
  };
  await using fake = await startFakeEngine({ [`GET /containers/${id}/json`]: json(details) });
  using docker = await openFakeDocker(fake);
  const handle = { poolType: "docker", identifier: `http+docker://localhost:${id}`, proof: {} };
  await using execution = await docker.infrastructure.adopt(handle, docker.options);
  expect(await execution?.ended).toMatchObject({ why: "The engine says: exec: ********: not found." });
});

test("a value that is a part of a text that messages show is not hidden in it", () => {
  const secrets = new EnvironmentSecrets(["TAG=release-1", "KEY=secret-1"], ["image:release-1"]);
  expect(secrets.hideIn("no such image:release-1, TAG=release-1, secret-1")).toBe(
    "no such image:release-1, ********, ********",
  );
});
