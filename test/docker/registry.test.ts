// A private registry: where the login for it comes from, and what is said without one.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { whyNoEngine } from "../support/docker-engine.ts";
import { type Registry, startRegistry } from "../support/registry.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { endOf, newDockerPool, runShell, startDockerWorker, useEngine } from "./docker-pool.ts";

const missing = await whyNoEngine();

describe.skipIf(missing)("an image of a private registry", { timeout: 120_000 }, () => {
  const docker = useEngine();

  /** Runs a flow run with the image. `configure` returns Docker's configuration file. Returns the state message and the log. */
  async function run(
    registry: Registry,
    jobVariables: JsonObject,
    configure: (directory: string) => Promise<JsonObject> = async () => ({}),
  ) {
    await using directory = await makeTemporaryDirectory("lictor-docker-config-");
    const config = await configure(directory.path);
    await writeFile(join(directory.path, "config.json"), JSON.stringify(config));
    const pool = await newDockerPool(docker.engine);
    const path = `${join(directory.path, "bin")}:${process.env.PATH}`;
    await using worker = await startDockerWorker(pool, { env: { DOCKER_CONFIG: directory.path, PATH: path } });
    const id = await runShell(pool, "exit 5", { image: registry.image, image_pull_policy: "Always", ...jobVariables });
    const { message } = await endOf(pool, id, "CRASHED");
    const asked = await readFile(join(directory.path, "asked"), "utf8").catch(() => "");
    return { message, asked, output: worker.stdout + worker.stderr };
  }

  /** A credential helper that notes what it is asked. */
  async function installHelper(directory: string, { host, login }: Registry): Promise<JsonObject> {
    const answer = JSON.stringify({ ServerURL: host, Username: login.username, Secret: login.password });
    const script = `#!/bin/sh\necho "$1 $(cat)" >>"${directory}/asked"\necho '${answer}'\n`;
    await mkdir(join(directory, "bin"));
    await writeFile(join(directory, "bin/docker-credential-lictor-test"), script, { mode: 0o755 });
    return { credHelpers: { [host]: "lictor-test" } };
  }

  test("is pulled with the login of a credential helper", async () => {
    await using registry = await startRegistry();
    const { message, asked, output } = await run(registry, {}, (directory) => installHelper(directory, registry));
    expect(message).toContain("status code 5");
    expect(asked).toBe(`get ${registry.host}\n`);
    expect(output).not.toContain(registry.login.password);
  });

  test("is pulled with the login of Docker's configuration file", async () => {
    await using registry = await startRegistry();
    const { username, password } = registry.login;
    const auth = Buffer.from(`${username}:${password}`).toString("base64");
    const { message, output } = await run(registry, {}, async () => ({ auths: { [registry.host]: { auth } } }));
    expect(message).toContain("status code 5");
    expect(output).not.toContain(password);
  });

  test("is pulled with the login of a block", async () => {
    await using registry = await startRegistry();
    const registry_credentials = { ...registry.login, registry_url: registry.host };
    const { message, output } = await run(registry, { registry_credentials });
    expect(message).toContain("status code 5");
    expect(output).toContain("Logging into Docker registry...");
    expect(output).not.toContain(registry.login.password);
  });

  test("is not pulled without a login, and with a wrong one, and the state says why", async () => {
    await using registry = await startRegistry();
    expect((await run(registry, {})).message).toMatch(
      /ImageError: Image '.*\/private:1' could not be pulled: .*(no basic auth credentials|unauthorized).* Check the image's name, and set registry_credentials/,
    );
    const registry_credentials = { ...registry.login, password: "wrong-pass-word", registry_url: registry.host };
    const { message, output } = await run(registry, { registry_credentials });
    expect(message).toMatch(/ImageError: Image '.*\/private:1' could not be pulled: .*unauthorized/i);
    expect(message + output).not.toContain("wrong-pass-word");
  });
});
