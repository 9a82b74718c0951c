// Where the engine is: DOCKER_HOST, contexts, TLS, and the usual sockets.
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { findEngine } from "../../src/infrastructure/docker/engine/engine-address.ts";
import { EngineAddressError } from "../../src/infrastructure/docker/engine/engine-error.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

/** A home directory with these files in `.docker`. */
async function homeWith(files: Record<string, string>) {
  const directory = await makeTemporaryDirectory();
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory.path, ".docker", name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  return { home: directory.path, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

const idOf = (context: string) => createHash("sha256").update(context).digest("hex");
const contextFiles = (name: string, host: string, skip = false) => ({
  [`contexts/meta/${idOf(name)}/meta.json`]: JSON.stringify({
    Name: name,
    Endpoints: { docker: { Host: host, SkipTLSVerify: skip } },
  }),
});

describe("DOCKER_HOST", () => {
  test.each([
    ["unix:///x/y.sock", { socketPath: "/x/y.sock", baseUrl: "http+docker://localhost" }],
    [
      "npipe:////./pipe/docker_engine",
      { socketPath: "\\\\.\\pipe\\docker_engine", baseUrl: "http+docker://localnpipe" },
    ],
    ["tcp://10.0.0.1:1234", { tcp: { hostname: "10.0.0.1", port: 1234 }, baseUrl: "http://10.0.0.1:1234" }],
    ["tcp://engine", { tcp: { hostname: "engine", port: 2375 }, baseUrl: "http://engine:2375" }],
    ["tcp://[::1]:80", { tcp: { hostname: "::1", port: 80 }, baseUrl: "http://[::1]:80" }],
    ["engine:99", { tcp: { hostname: "engine", port: 99 } }],
    ["https://engine", { tcp: { hostname: "engine", port: 2376 }, tls: { rejectUnauthorized: true } }],
  ])("%s", (host, expected) => {
    expect(findEngine({ DOCKER_HOST: host }, "linux")).toMatchObject({ host, ...expected });
  });

  test.each([
    ["ssh://me@engine", /does not connect to Docker over SSH.*ssh -NL .* me@engine.*DOCKER_HOST=unix:/],
    ["fd://1", /begins with none of unix:\/\/, tcp:\/\//],
    ["tcp://", /names no host and port/],
  ])("%s is refused with advice", (host, message) => {
    const find = () => findEngine({ DOCKER_HOST: host }, "linux");
    expect(find).toThrow(EngineAddressError);
    expect(find).toThrow(message);
  });

  test("has TLS with DOCKER_TLS_VERIFY, with the files of DOCKER_CERT_PATH", async () => {
    await using files = await homeWith({ "ca.pem": "A", "cert.pem": "B", "key.pem": "C" });
    const env = { HOME: files.home, DOCKER_HOST: "tcp://engine", DOCKER_TLS_VERIFY: "1" };
    expect(findEngine(env, "linux")).toMatchObject({
      tls: { ca: "A", cert: "B", key: "C", rejectUnauthorized: true },
      baseUrl: "https://engine:2376",
    });
  });

  test("with DOCKER_TLS_VERIFY and without any file says so", async () => {
    await using files = await homeWith({});
    const env = { DOCKER_HOST: "tcp://engine", DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: files.home };
    expect(() => findEngine(env, "linux")).toThrow(`${files.home} has none of ca.pem, cert.pem and key.pem`);
  });

  test("shows no password", () => {
    expect(findEngine({ DOCKER_HOST: "tcp://me:pass-word@engine:1" }, "linux").host).toBe("tcp://me:********@engine:1");
    const overSsh = () => findEngine({ DOCKER_HOST: "ssh://me:pass-word@engine" }, "linux");
    expect(overSsh).toThrow(/ssh:\/\/me:\*{8}@engine/);
    expect(overSsh).not.toThrow(/pass-word/);
  });
});

describe("a Docker context", () => {
  test("is the current one of the configuration file", async () => {
    await using files = await homeWith({
      "config.json": JSON.stringify({ currentContext: "far" }),
      ...contextFiles("far", "tcp://far:1"),
      [`contexts/tls/${idOf("far")}/docker/ca.pem`]: "A",
    });
    const env = { HOME: files.home };
    expect(findEngine(env, "linux")).toMatchObject({ host: "tcp://far:1", tls: { ca: "A", rejectUnauthorized: true } });
    expect(findEngine({ ...env, DOCKER_HOST: "unix:///x" }, "linux").host).toBe("unix:///x");
  });

  test("is that of DOCKER_CONTEXT, and may skip the check of certificates", async () => {
    await using files = await homeWith(contextFiles("near", "tcp://near:1", true));
    const found = findEngine({ HOME: files.home, DOCKER_CONTEXT: "near" }, "linux");
    expect(found).toMatchObject({ host: "tcp://near:1", tls: { rejectUnauthorized: false } });
  });

  test("of Docker Desktop on Windows is a named pipe", async () => {
    await using files = await homeWith(contextFiles("desktop-linux", "npipe:////./pipe/dockerDesktopLinuxEngine"));
    const found = findEngine({ HOME: files.home, DOCKER_CONTEXT: "desktop-linux" }, "win32");
    expect(found).toEqual({
      host: "npipe:////./pipe/dockerDesktopLinuxEngine",
      socketPath: "\\\\.\\pipe\\dockerDesktopLinuxEngine",
      tcp: null,
      tls: null,
      baseUrl: "http+docker://localnpipe",
    });
  });

  test("that does not exist is an error that says what to do", async () => {
    await using files = await homeWith({ "config.json": JSON.stringify({ currentContext: "gone" }) });
    expect(() => findEngine({ HOME: files.home }, "linux")).toThrow(/context 'gone' is not in .*docker context use/);
  });

  test("default means the usual socket", async () => {
    await using files = await homeWith({ "config.json": JSON.stringify({ currentContext: "default" }) });
    expect(findEngine({ HOME: files.home }, "win32").socketPath).toBe("\\\\.\\pipe\\docker_engine");
  });

  test("in a file that is no JSON is an error", async () => {
    await using files = await homeWith({ "config.json": "{" });
    expect(() => findEngine({ HOME: files.home }, "linux")).toThrow(/config\.json cannot be read/);
  });
});

test("without a Docker socket, the socket of Podman is found", async () => {
  await using runtime = await makeTemporaryDirectory();
  await mkdir(join(runtime.path, "podman"));
  await writeFile(join(runtime.path, "podman/podman.sock"), "");
  const found = findEngine({ HOME: runtime.path, XDG_RUNTIME_DIR: runtime.path }, "linux");
  // A machine with Docker has that socket first.
  expect(["unix:///var/run/docker.sock", `unix://${runtime.path}/podman/podman.sock`]).toContain(found.host);
});
