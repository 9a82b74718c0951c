// Names of images, pull policies, logins for registries, and the progress of a pull.
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { defaultImage } from "../../src/infrastructure/default-image.ts";
import { describeBytes } from "../../src/infrastructure/docker/byte-sizes.ts";
import { parseImage, registryOf, toPullPolicy } from "../../src/infrastructure/docker/image-reference.ts";
import { RegistryLogin, readConfiguredLogin } from "../../src/infrastructure/docker/registry-login.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const hub = "https://index.docker.io/v1/";

test.each([
  ["python", "python", null, hub, "Always"],
  ["python:latest", "python", "latest", hub, "Always"],
  ["prefecthq/prefect:3.9.1-python3.12", "prefecthq/prefect", "3.9.1-python3.12", hub, "IfNotPresent"],
  ["localhost:5000/a/b", "localhost:5000/a/b", null, "localhost:5000", "Always"],
  ["localhost:5000/a/b:1", "localhost:5000/a/b", "1", "localhost:5000", "IfNotPresent"],
  ["ghcr.io/a/b@sha256:0a", "ghcr.io/a/b", "sha256:0a", "ghcr.io", "IfNotPresent"],
  ["docker.io/library/x:2", "docker.io/library/x", "2", hub, "IfNotPresent"],
])("%s", (image, name, tag, registry, policy) => {
  expect(parseImage(image)).toEqual({ name, tag });
  expect(registryOf(image)).toBe(registry);
  expect(toPullPolicy(null, image)).toBe(policy);
  expect(toPullPolicy("Never", image)).toBe("Never");
});

test("the default image is Prefect's of this release, unless the user names another", () => {
  expect(defaultImage({})).toMatch(/^prefecthq\/prefect:3\.\d+\.\d+-python3\.\d+$/);
  expect(defaultImage({ LICTOR_DEFAULT_IMAGE: " my/image:1 " })).toBe("my/image:1");
});

test("sizes for people", () => {
  expect([0, 900, 2048, 1.5 * 1024 ** 2, 3 * 1024 ** 3].map(describeBytes)).toEqual([
    "0 bytes",
    "900 bytes",
    "2 KiB",
    "1.5 MiB",
    "3 GiB",
  ]);
});

const headerOf = (login: RegistryLogin | null): unknown =>
  login && JSON.parse(Buffer.from(login.toHeader(), "base64url").toString());

/** An environment whose Docker configuration and programs these are. */
async function environmentWith(config: object, programs: Record<string, string> = {}) {
  const directory = await makeTemporaryDirectory();
  await mkdir(join(directory.path, "bin"));
  await writeFile(join(directory.path, "config.json"), JSON.stringify(config));
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(join(directory.path, "bin", name), `#!/bin/sh\n${script}\n`);
    await chmod(join(directory.path, "bin", name), 0o755);
  }
  const env = { DOCKER_CONFIG: directory.path, PATH: `${directory.path}/bin:/usr/bin:/bin` };
  return { env, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}

describe("a login", () => {
  test("of a block is for its registry, and shows no password", () => {
    const login = RegistryLogin.fromField({ username: "u", password: "secret!", registry_url: "https://ghcr.io/v2" });
    expect(login?.isFor("ghcr.io")).toBe(true);
    expect(login?.isFor(hub)).toBe(false);
    expect(headerOf(login)).toEqual({
      username: "u",
      password: "secret!",
      email: null,
      serveraddress: "https://ghcr.io/v2",
    });
    expect(JSON.stringify(login)).not.toContain("secret!");
    expect(RegistryLogin.fromField(null)).toBeNull();
  });

  test.each([["docker.io"], ["https://index.docker.io/v1/"], ["registry.hub.docker.com"]])(
    "of Docker Hub: %s",
    (url) => {
      expect(new RegistryLogin("u", "p", url).isFor(registryOf("prefecthq/prefect"))).toBe(true);
    },
  );

  test("without a password in its block is an error that names the key", () => {
    expect(() => RegistryLogin.fromField({ username: "u", registry_url: "r" })).toThrow(/has no password/);
  });

  test("is in Docker's configuration file", async () => {
    const auth = Buffer.from("u:p:q").toString("base64");
    await using given = await environmentWith({ auths: { "https://index.docker.io/v1/": { auth }, "ghcr.io": {} } });
    expect(headerOf(await readConfiguredLogin(hub, given.env))).toMatchObject({ username: "u", password: "p:q" });
    expect(await readConfiguredLogin("ghcr.io", given.env)).toBeNull();
    expect(await readConfiguredLogin("quay.io", given.env)).toBeNull();
  });

  test("is with the credential helper of its registry, or of all", async () => {
    const helper = `read registry; echo "{\\"Username\\":\\"$registry\\",\\"Secret\\":\\"s\\"}"`;
    await using given = await environmentWith(
      { credHelpers: { "ghcr.io": "one" }, credsStore: "all" },
      { "docker-credential-one": helper, "docker-credential-all": `echo '{"Username":"<token>","Secret":"t"}'` },
    );
    expect(headerOf(await readConfiguredLogin("ghcr.io", given.env))).toMatchObject({
      username: "ghcr.io",
      password: "s",
    });
    expect(headerOf(await readConfiguredLogin(hub, given.env))).toEqual({ identitytoken: "t", serveraddress: hub });
  });

  test("that a helper does not have is none, and a helper that fails is an error with its words", async () => {
    await using given = await environmentWith(
      { credHelpers: { a: "none", b: "bad", c: "missing" } },
      {
        "docker-credential-none": "echo credentials not found in native keychain; exit 1",
        "docker-credential-bad": "echo the keychain is locked; exit 1",
      },
    );
    expect(await readConfiguredLogin("a", given.env)).toBeNull();
    await expect(readConfiguredLogin("b", given.env)).rejects.toThrow(
      /docker-credential-bad failed with 1 for b: the keychain is locked/,
    );
    await expect(readConfiguredLogin("c", given.env)).rejects.toThrow(/docker-credential-missing cannot be run/);
  });

  test("that a helper prints in a wrong way is in no error", async () => {
    await using given = await environmentWith(
      { credHelpers: { a: "cut", b: "bad", c: "text" } },
      {
        "docker-credential-cut": `printf '{"Username":"u","Secret":"pass-word-1'`,
        "docker-credential-bad": `echo '{"Secret":"pass-word-1"}'; exit 1`,
        "docker-credential-text": "echo pass-word-1",
      },
    );
    const errorOf = async (registry: string) => inspect(await readConfiguredLogin(registry, given.env).catch((e) => e));
    expect(await errorOf("a")).toContain("docker-credential-cut printed no login for a.");
    expect(await errorOf("b")).toContain("docker-credential-bad failed with 1 for b: it printed a login");
    expect(await errorOf("c")).toContain("docker-credential-text printed no login for c.");
    for (const registry of ["a", "b", "c"]) expect(await errorOf(registry)).not.toContain("pass-word-1");
  });

  test("in a configuration file that is no JSON is in no error", async () => {
    await using given = await environmentWith({});
    const path = join(given.env.DOCKER_CONFIG, "config.json");
    await writeFile(path, '{"auths":{"a":{"auth":"dTpwYXNzLXdvcmQ="}},}');
    const error = await readConfiguredLogin("a", given.env).catch((thrown: unknown) => thrown);
    expect((error as Error).message).toBe(`${path} cannot be read: it is no JSON. Correct it.`);
    expect(inspect(error)).not.toContain("dTpwYXNz");
  });

  test.each(["p", "pp", "ppp", "~~?~~?~~?"])("is sent in the base64 of URLs with its padding: %s", (password) => {
    const header = new RegistryLogin("u", password, "r").toHeader();
    expect(header).toMatch(/^[\w-]+=*$/);
    expect(header.length % 4).toBe(0);
  });

  test("is hidden in the forms in which it is sent and stored", () => {
    const login = new RegistryLogin("u", "p", "r");
    expect(login.secrets).toEqual(["p", login.toHeader(), Buffer.from("u:p").toString("base64")]);
  });
});
