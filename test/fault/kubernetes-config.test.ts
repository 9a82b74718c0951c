// Finding a cluster and its credentials: blocks, the service account of a pod, kubeconfigs and credential plugins.
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Json } from "../../src/api/wire.ts";
import { replaceClock } from "../../src/async/clock.ts";
import type { ClusterAccess, Credentials } from "../../src/infrastructure/kubernetes/cluster/cluster-access.ts";
import { findCluster } from "../../src/infrastructure/kubernetes/cluster/find-cluster.ts";
import { makeTemporaryDirectory, type TemporaryDirectory } from "../support/temporary-directory.ts";
import { untilTheEnd } from "./test-socket.ts";

interface Files extends AsyncDisposable {
  path: string;
  hidden: string[];
  write(name: string, content: string): Promise<string>;
  find(block?: Json, environment?: Record<string, string>): Promise<ClusterAccess>;
}

async function openFiles(): Promise<Files> {
  const directory: TemporaryDirectory = await makeTemporaryDirectory("lictor-kubeconfig-");
  const hidden: string[] = [];
  return {
    path: directory.path,
    hidden,
    async write(name, content) {
      const file = join(directory.path, name);
      await writeFile(file, content, { mode: 0o755 });
      return file;
    },
    find: (block = null, environment = {}) =>
      findCluster(
        block,
        {
          environment: { HOME: directory.path, PATH: process.env.PATH, ...environment },
          hide: (secrets) => void hidden.push(...secrets),
        },
        join(directory.path, "serviceaccount"),
      ),
    [Symbol.asyncDispose]: directory[Symbol.asyncDispose],
  };
}

/** A kubeconfig with one context, whose user has these lines. */
function kubeconfig(user: string, cluster = "", name = "one"): string {
  return [
    "apiVersion: v1",
    "kind: Config",
    `current-context: ${name}`,
    `clusters: [{name: ${name}, cluster: {server: "https://${name}.example:6443/", ${cluster}}}]`,
    `contexts: [{name: ${name}, context: {cluster: ${name}, user: ${name}, namespace: of-${name}}}]`,
    `users: [{name: ${name}, user: {${user}}}]`,
  ].join("\n");
}

const read = async ({ credentials }: ClusterAccess): Promise<Credentials> => await credentials.read(untilTheEnd);

async function authorizationOf(access: ClusterAccess): Promise<string | null> {
  return (await read(access)).authorization;
}

/** A clock that a test sets forward. Disposing brings the system's clock back. */
function settableClock() {
  let ms = 1_000_000;
  const disposable = replaceClock({
    monotonicMs: () => ms,
    wallClockMs: () => ms,
    startTimer: (delay, callback) => {
      const timer = setTimeout(callback, delay);
      return () => clearTimeout(timer);
    },
    timeoutSignal: (delay) => AbortSignal.timeout(delay),
  });
  return {
    forward: (by: number) => {
      ms += by;
    },
    wall: () => ms,
    [Symbol.dispose]: disposable[Symbol.dispose],
  };
}

describe("a kubeconfig", () => {
  test("of ~/.kube/config gives the current context", async () => {
    await using files = await openFiles();
    await mkdir(join(files.path, ".kube"));
    await files.write(".kube/config", kubeconfig("token: secret-token", "tls-server-name: inner"));
    const access = await files.find();
    expect(access).toMatchObject({ server: "https://one.example:6443", namespace: "of-one", headers: {} });
    expect(access.tls).toEqual({ ca: undefined, rejectUnauthorized: true, servername: "inner" });
    expect(access.origin).toBe(`the context 'one' of ${files.path}/.kube/config`);
    expect(await authorizationOf(access)).toBe("Bearer secret-token");
    expect(files.hidden).toEqual(["secret-token"]);
  });

  test("may be several files, of which the first counts, and missing ones are skipped", async () => {
    await using files = await openFiles();
    const a = await files.write("a", kubeconfig("token: of-a"));
    const b = await files.write("b", kubeconfig("token: of-b").replace("users:", "preferences: {}\nusers:"));
    const c = await files.write("c", kubeconfig("token: of-c", "", "other"));
    const find = (...names: string[]) => files.find(null, { KUBECONFIG: names.join(":") });
    expect(await authorizationOf(await find(`${files.path}/missing`, a, b, ""))).toBe("Bearer of-a");
    expect(await authorizationOf(await find(b, a))).toBe("Bearer of-b");
    expect(await find(c, a)).toMatchObject({ server: "https://other.example:6443" });
  });

  test("may be JSON, and names files relative to itself", async () => {
    await using files = await openFiles();
    await mkdir(join(files.path, "sub"));
    await files.write("sub/ca.pem", "CA");
    await files.write("sub/token", "from a file\n");
    const file = await files.write(
      "sub/config",
      JSON.stringify({
        "current-context": "c",
        clusters: [{ name: "c", cluster: { server: "https://c", "certificate-authority": "ca.pem" } }],
        contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
        users: [{ name: "u", user: { tokenFile: "token" } }],
      }),
    );
    const access = await files.find(null, { KUBECONFIG: file });
    expect(access).toMatchObject({ namespace: null, tls: { ca: "CA" } });
    expect(await authorizationOf(access)).toBe("Bearer from a file");
  });

  test.each([
    ["a password", "username: u, password: p4ssword", { authorization: "Basic dTpwNHNzd29yZA==", certificate: null }],
    [
      "a client certificate",
      `client-certificate-data: ${btoa("CERT")}, client-key-data: ${btoa("KEY")}`,
      { authorization: null, certificate: { cert: "CERT", key: "KEY" } },
    ],
    [
      "an id token of OIDC",
      "auth-provider: {name: oidc, config: {id-token: id-t0ken}}",
      { authorization: "Bearer id-t0ken", certificate: null },
    ],
    ["nothing", "", { authorization: null, certificate: null }],
  ])("whose user has %s", async (_what, user, expected) => {
    await using files = await openFiles();
    const file = await files.write("config", kubeconfig(user));
    expect(await read(await files.find(null, { KUBECONFIG: file }))).toEqual(expected);
  });

  test("may name a proxy and somebody to act as", async () => {
    await using files = await openFiles();
    const file = await files.write(
      "config",
      kubeconfig("token: t, as: jane, as-groups: [devs]", "proxy-url: http://u:pa55word@proxy.example:3128"),
    );
    const access = await files.find(null, { KUBECONFIG: file });
    expect(access.proxy).toMatchObject({ url: "http://proxy.example:3128", authorization: "Basic dTpwYTU1d29yZA==" });
    expect(access.headers).toEqual({ "Impersonate-User": "jane", "Impersonate-Group": "devs" });
    expect(files.hidden).toContain("pa55word");
  });

  test.each([
    ["is not there", undefined, /^No Kubernetes cluster is configured: .* does not exist.* Set KUBECONFIG/],
    ["is no YAML", "a: [secret", /^.*config is no valid YAML: .* in line 1\. Correct it\.$/],
    ["is a text", "hello", /is no kubeconfig: an object is expected/],
    [
      "has no current context",
      kubeconfig("").replace("current-context: one", ""),
      /has no current context.*It has: one/,
    ],
    ["names a missing context", kubeconfig("").replace("context: one", "context: two"), /'two' is not in .* has: one/],
    ["names a missing cluster", kubeconfig("").replace("cluster: one", "cluster: x"), /The cluster 'x'.* Add it/],
    ["names a missing user", kubeconfig("").replace("user: one", "user: x"), /The user 'x'.* Add it/],
    ["has a server that is no URL", kubeconfig("").replace("https://one.example", "one"), /The server 'one:6443\/' of/],
    [
      "names a missing authority",
      kubeconfig("", "certificate-authority: /no/ca"),
      /^\/no\/ca, the certificate-authority/,
    ],
    [
      "has a SOCKS proxy",
      kubeconfig("", 'proxy-url: "socks5://p:1"'),
      /proxy-url of .*SOCKS proxies are not supported/,
    ],
    ["acts as several groups", kubeconfig("as-groups: [a, b]"), /impersonates with several groups/],
  ])("that %s", async (_what, text, message) => {
    await using files = await openFiles();
    if (text !== undefined) await files.write("config", text);
    const found = files.find(null, { KUBECONFIG: join(files.path, "config") });
    await expect(found).rejects.toThrow(message);
    await expect(found).rejects.toMatchObject({ name: "ClusterConfigError" });
    await expect(found).rejects.not.toThrow(/secret/);
  });

  test.each([
    ["an auth provider of a cloud", "auth-provider: {name: gcp}", /auth provider 'gcp'.*gke-gcloud-auth-plugin/],
    ["a certificate without a key", `client-certificate-data: ${btoa("C")}`, /only one of client certificate and key/],
    ["a token file that is missing", "tokenFile: /no/token", /^\/no\/token, the token file of/],
  ])("whose user has %s", async (_what, user, message) => {
    await using files = await openFiles();
    const access = await files.find(null, { KUBECONFIG: await files.write("config", kubeconfig(user)) });
    await expect(read(access)).rejects.toThrow(message);
  });

  test("is read again when its token was refused", async () => {
    await using files = await openFiles();
    const file = await files.write("config", kubeconfig("token: old"));
    const access = await files.find(null, { KUBECONFIG: file });
    const used = await read(access);
    await files.write("config", kubeconfig("token: new"));
    expect(await read(access)).toBe(used);
    access.credentials.renew(used);
    expect(await authorizationOf(access)).toBe("Bearer new");
    // Another request that was refused with the old token must not throw the new one away.
    const renewed = await read(access);
    access.credentials.renew(used);
    expect(await read(access)).toBe(renewed);
  });
});

describe("a cluster_config block", () => {
  const config = {
    clusters: [{ name: "c", cluster: { server: "https://c:1" } }],
    contexts: [
      { name: "a", context: { cluster: "c", user: "a" } },
      { name: "b", context: { cluster: "c", user: "b" } },
    ],
    users: [
      { name: "a", user: { token: "of a" } },
      { name: "b", user: { token: "of b" } },
    ],
    "current-context": "a",
  };

  test("gives the context that it names, before all else", async () => {
    await using files = await openFiles();
    await makeServiceAccount(files);
    const access = await files.find({ config, context_name: "b" }, inPod);
    expect(access.origin).toBe("the context 'b' of the cluster_config block");
    expect(await authorizationOf(access)).toBe("Bearer of b");
  });

  test("may be text", async () => {
    await using files = await openFiles();
    const access = await files.find({ config: kubeconfig("token: t"), context_name: "one" });
    expect(access.server).toBe("https://one.example:6443");
  });

  test("without a kubeconfig is refused", async () => {
    await using files = await openFiles();
    await expect(files.find({ context_name: "b" })).rejects.toThrow("the cluster_config block is no kubeconfig");
  });
});

const inPod = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };

async function makeServiceAccount(files: Files): Promise<void> {
  await mkdir(join(files.path, "serviceaccount"));
  await files.write("serviceaccount/token", "first");
  await files.write("serviceaccount/ca.crt", "CA");
  await files.write("serviceaccount/namespace", "here");
}

describe("a pod", () => {
  test("gives its service account, before the kubeconfig", async () => {
    await using files = await openFiles();
    await makeServiceAccount(files);
    const KUBECONFIG = await files.write("config", kubeconfig("token: t"));
    const access = await files.find(null, { ...inPod, KUBECONFIG });
    expect(access).toMatchObject({ server: "https://10.96.0.1:443", namespace: "here", tls: { ca: "CA" } });
    expect(access.origin).toBe("the service account of this pod");
    const v6 = await files.find(null, { ...inPod, KUBERNETES_SERVICE_HOST: "fd00::1" });
    expect(v6.server).toBe("https://[fd00::1]:443");
  });

  test("without a mounted token gives the kubeconfig", async () => {
    await using files = await openFiles();
    const KUBECONFIG = await files.write("config", kubeconfig("token: t"));
    expect((await files.find(null, { ...inPod, KUBECONFIG })).namespace).toBe("of-one");
  });

  test("has a token that is read again every minute, and at once when it was refused", async () => {
    await using files = await openFiles();
    await makeServiceAccount(files);
    using clock = settableClock();
    const access = await files.find(null, inPod);
    expect(await authorizationOf(access)).toBe("Bearer first");
    await files.write("serviceaccount/token", "second");
    clock.forward(59_000);
    expect(await authorizationOf(access)).toBe("Bearer first");
    clock.forward(2_000);
    expect(await authorizationOf(access)).toBe("Bearer second");
    await files.write("serviceaccount/token", "third");
    access.credentials.renew(await read(access));
    expect(await authorizationOf(access)).toBe("Bearer third");
    // Kubernetes replaces a directory, and the old token is good for some time.
    await rename(join(files.path, "serviceaccount/token"), join(files.path, "serviceaccount/away"));
    clock.forward(61_000);
    expect(await authorizationOf(access)).toBe("Bearer third");
    await rm(join(files.path, "serviceaccount/away"));
    access.credentials.renew(await read(access));
    await expect(read(access)).rejects.toThrow(/the token file of the service account of this pod, cannot be read/);
  });
});

describe("a credential plugin", () => {
  const v1 = "client.authentication.k8s.io/v1";

  /** A plugin that counts its runs and prints what is in `answer.json`. */
  async function writePlugin(files: Files, status: Record<string, string>, version = v1): Promise<void> {
    await files.write("answer.json", JSON.stringify({ apiVersion: version, kind: "ExecCredential", status }));
    const lines = [
      "#!/bin/sh",
      "cd $(dirname $0)",
      "echo run >>runs",
      'echo "$KUBERNETES_EXEC_INFO" >info',
      "env >env",
    ];
    await files.write("plugin", [...lines, 'echo "$*" >args', "cat answer.json"].join("\n"));
  }
  const textOf = (files: Files, name: string): Promise<string> => readFile(join(files.path, name), "utf8");
  const user = (version = v1, more = "") =>
    `exec: {apiVersion: ${version}, command: ./plugin, args: [get, token], ${more}}`;
  const findWith = async (files: Files, text: string): Promise<ClusterAccess> =>
    await files.find(null, { KUBECONFIG: await files.write("config", kubeconfig(text)) });

  test.each([v1, "client.authentication.k8s.io/v1beta1"])("of %s gives a token until it expires", async (version) => {
    await using files = await openFiles();
    using clock = settableClock();
    const expiresAt = (ms: number): string => new Date(clock.wall() + ms).toISOString();
    await writePlugin(files, { token: "t1", expirationTimestamp: expiresAt(600_000) }, version);
    const more = "env: [{name: FROM_CONFIG, value: x}], provideClusterInfo: true";
    const access = await findWith(files, user(version, more));
    expect(await Promise.all([authorizationOf(access), authorizationOf(access)])).toEqual(["Bearer t1", "Bearer t1"]);
    expect(await textOf(files, "runs")).toBe("run\n");
    expect(await textOf(files, "args")).toBe("get token\n");
    expect(await textOf(files, "env")).toContain("FROM_CONFIG=x");
    expect(JSON.parse(await textOf(files, "info"))).toEqual({
      apiVersion: version,
      kind: "ExecCredential",
      spec: { interactive: false, cluster: { server: "https://one.example:6443" } },
    });
    await writePlugin(files, { token: "t2" }, version);
    clock.forward(500_000);
    expect(await authorizationOf(access)).toBe("Bearer t1");
    clock.forward(80_000);
    expect(await authorizationOf(access)).toBe("Bearer t2");
    access.credentials.renew(await read(access));
    await read(access);
    expect(await textOf(files, "runs")).toBe("run\n".repeat(3));
  });

  test("may give a client certificate", async () => {
    await using files = await openFiles();
    await writePlugin(files, { clientCertificateData: "C", clientKeyData: "K" });
    const access = await findWith(files, user());
    expect(await read(access)).toEqual({ authorization: null, certificate: { cert: "C", key: "K" } });
  });

  test("is not run if there is a token", async () => {
    await using files = await openFiles();
    expect(await authorizationOf(await findWith(files, `token: t, ${user()}`))).toBe("Bearer t");
  });

  test("that is not installed is named with its hint", async () => {
    await using files = await openFiles();
    const text = `exec: {apiVersion: ${v1}, command: no-such-plugin, installHint: "Install it\\n from here."}`;
    await expect(read(await findWith(files, text))).rejects.toThrow(
      /^The credential plugin 'no-such-plugin' of the context 'one' of .* is not installed\. Install it from here\.$/,
    );
  });

  test("that fails may succeed later, so that is a lost connection", async () => {
    await using files = await openFiles();
    await files.write("plugin", "#!/bin/sh\necho secret-output; echo 'not logged in' >&2; exit 3");
    const failed = read(await findWith(files, user()));
    await expect(failed).rejects.toMatchObject({ name: "ClusterUnreachableError" });
    await expect(failed).rejects.toThrow(/The credential plugin '\.\/plugin' of .* failed \(3\): not logged in$/);
    await expect(failed).rejects.not.toThrow(/secret-output/);
  });

  test.each([
    ["prints no JSON", "#!/bin/sh\necho secret", /printed something else than JSON/],
    ["prints no token", `#!/bin/sh\necho '{"apiVersion":"${v1}"}'`, /printed neither a token nor a certificate/],
    ["answers in another version", '#!/bin/sh\necho \'{"apiVersion":"x"}\'', /answered with another version/],
  ])("that %s", async (_what, script, message) => {
    await using files = await openFiles();
    await files.write("plugin", script);
    await expect(read(await findWith(files, user()))).rejects.toThrow(message);
  });

  test.each([
    [
      "of an old version",
      user("client.authentication.k8s.io/v1alpha1"),
      /speaks 'client.authentication.k8s.io\/v1alpha1'/,
    ],
    ["that needs a terminal", user(v1, "interactiveMode: Always"), /needs a terminal/],
  ])("%s is refused", async (_what, text, message) => {
    await using files = await openFiles();
    await expect(read(await findWith(files, text))).rejects.toThrow(message);
  });
});
