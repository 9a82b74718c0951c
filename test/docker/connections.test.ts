// The ways to a real engine besides its Unix socket: TLS with certificates of both sides, and Docker contexts.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Engine } from "../../src/infrastructure/docker/engine/engine.ts";
import { findEngine } from "../../src/infrastructure/docker/engine/engine-address.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { startDockerEngine, whyNoEngine } from "../support/docker-engine.ts";
import type { DockerEngine } from "../support/engine-program.ts";
import { findFreePort } from "../support/free-port.ts";
import { endAsNotApplicable } from "../support/prefect-release.ts";
import { isInstalled, runCommand } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { containersOf, endOf, newDockerPool, runShell, startDockerWorker } from "./docker-pool.ts";

const missing = await whyNoEngine();

describe.skipIf(missing)("an engine with --tlsverify", { timeout: 120_000 }, () => {
  let authority: Authority;
  let other: Authority;
  let engine: DockerEngine;
  let host: string;

  beforeAll(async () => {
    [authority, other] = [await makeAuthority(), await makeAuthority()];
    const { good, caFile, writeFile: write } = authority;
    const port = await findFreePort();
    host = `tcp://127.0.0.1:${port}`;
    engine = await startDockerEngine([
      ...["-H", host, "--tlsverify", "--tlscacert", caFile],
      ...["--tlscert", await write("engine.pem", good.cert), "--tlskey", await write("engine.key", good.key)],
    ]);
  });

  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    for (const each of [authority, other]) await each?.[Symbol.asyncDispose]();
  });

  /** A directory with the files that DOCKER_CERT_PATH names. */
  async function certificates(files: Record<string, string>) {
    const directory = await makeTemporaryDirectory("lictor-certificates-");
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory.path, name), text);
    return directory;
  }

  const all = () => ({ "ca.pem": authority.ca, "cert.pem": authority.good.cert, "key.pem": authority.good.key });

  /** Runs a flow run in a container of the engine that this environment leads to. Returns its `infrastructure_pid`. */
  async function runThere(env: Record<string, string>): Promise<string> {
    const pool = await newDockerPool(engine);
    await using _worker = await startDockerWorker(pool, { env: { DOCKER_HOST: "", ...env } });
    const id = await runShell(pool, "exit 5");
    const { message, flowRun } = await endOf(pool, id, "CRASHED");
    expect(message).toContain("status code 5");
    const [container] = await containersOf(pool, id);
    expect(flowRun.infrastructure_pid).toBe(`https://${host.replace("tcp://", "")}:${container?.Id}`);
    return flowRun.infrastructure_pid ?? "";
  }

  test("runs containers for a worker with the files of DOCKER_CERT_PATH", async () => {
    await using files = await certificates(all());
    await runThere({ DOCKER_HOST: host, DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: files.path });
  });

  test("runs containers for a worker with a context that the Docker command line made", async () => {
    if (!(await isInstalled("docker"))) return endAsNotApplicable("no docker command");
    await using files = await certificates(all());
    const env = { ...process.env, DOCKER_CONFIG: join(files.path, "config") };
    await mkdir(env.DOCKER_CONFIG);
    const [ca, cert, key] = ["ca", "cert", "key"].map((name) => `${name}=${join(files.path, `${name}.pem`)}`);
    for (const args of [
      ["context", "create", "far", "--docker", `host=${host},${ca},${cert},${key}`],
      ["context", "use", "far"],
    ]) {
      const { code, stderr } = await runCommand("docker", args, { env });
      expect(code, stderr).toBe(0);
    }
    await runThere({ DOCKER_CONFIG: env.DOCKER_CONFIG });
  });

  test.each<[string, () => Record<string, string> | null, RegExp]>([
    ["without a certificate", () => ({ "ca.pem": authority.ca }), /It asks for a certificate that it trusts\./],
    [
      "with a certificate of another authority",
      () => ({ ...all(), "cert.pem": other.good.cert, "key.pem": other.good.key }),
      /It asks for a certificate that it trusts\./,
    ],
    ["that trusts another authority", () => ({ ...all(), "ca.pem": other.ca }), /Its certificate is not trusted\./],
    ["without TLS", () => null, /It speaks TLS only\. Set DOCKER_TLS_VERIFY=1/],
  ])("refuses a client %s, and the message says what to do", async (_, filesOf, expected) => {
    const given = filesOf();
    await using files = await certificates(given ?? {});
    const tls = given ? { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: files.path } : {};
    const client = new Engine(findEngine({ DOCKER_HOST: host, ...tls }), 5_000);
    await expect(client.request("GET", "/info")).rejects.toThrow(expected);
  });
});
