// Requests to an API server of Kubernetes that fails, is away, replaces tokens and refuses.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import {
  isConflict,
  isExisting,
  isMissing,
  isTransient,
} from "../../src/infrastructure/kubernetes/cluster/cluster-error.ts";
import { followLog, readLog } from "../../src/infrastructure/kubernetes/cluster/container-logs.ts";
import {
  createObject,
  deleteObject,
  isAllowed,
  listEvents,
  listObjects,
  patchObject,
  readClusterUid,
  readObject,
  readVersion,
  replaceObject,
} from "../../src/infrastructure/kubernetes/cluster/objects.ts";
import { jobs, pods, secrets } from "../../src/infrastructure/kubernetes/cluster/resources.ts";
import { startForwardProxy } from "../support/forward-proxy.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { type FakeKubernetes, openFakeCluster, startFakeKubernetes } from "./fake-kubernetes.ts";
import { type Answer, json, status } from "./kubernetes-answers.ts";
import { rejectionOf } from "./test-client.ts";
import { recordingLogger } from "./test-socket.ts";
import { certificate, privateKey, startTlsServer } from "./tls-server.ts";

const job = (name: string): JsonObject => ({ apiVersion: "batch/v1", kind: "Job", metadata: { name }, spec: {} });

/** Answers the next requests one after the other, and then as usual. */
function answerNext(server: FakeKubernetes, ...answers: Answer[]): void {
  server.faults.push(() => answers.shift());
}

const cut: Answer = (response) => void response.socket?.destroy();

test("a call that nobody ends is ended with its cluster", async () => {
  await using server = await startFakeKubernetes();
  server.faults.push(() => status(503, {}));
  const cluster = await openFakeCluster(server, recordingLogger().log);
  const reading = rejectionOf(readVersion(cluster, { retries: Number.POSITIVE_INFINITY }));
  cluster[Symbol.dispose]();
  expect(await reading).toMatchObject({ message: "the cluster is not used any more" });
});

describe("an object", () => {
  test("is created, read, changed and deleted", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    const created = await createObject(cluster, jobs, "default", job("j"), {});
    expect(created.metadata).toMatchObject({ name: "j", namespace: "default", uid: expect.stringMatching(/-/) });
    expect(await readObject(cluster, jobs, "default", "j", {})).toEqual(created);
    await replaceObject(cluster, secrets, "default", "s", { metadata: { name: "s" } }, {}).catch((error: unknown) => {
      expect(isMissing(error)).toBe(true);
    });
    await createObject(cluster, secrets, "default", { metadata: { name: "s" }, data: { a: "1", b: "2" } }, {});
    await replaceObject(cluster, secrets, "default", "s", { metadata: { name: "s" }, data: { a: "3", b: "2" } }, {});
    const patched = await patchObject(cluster, secrets, "default", "s", { data: { b: null } }, {});
    expect(patched.data).toEqual({ a: "3" });
    expect(server.requests.at(-1)?.headers["content-type"]).toBe("application/merge-patch+json");
    const options = { gracePeriodSeconds: 30, propagationPolicy: "Foreground", uid: created.metadata.uid } as const;
    expect(await deleteObject(cluster, jobs, "default", "j", options)).toBe(true);
    expect(JSON.parse(server.requests.at(-1)?.body ?? "")).toEqual({
      apiVersion: "v1",
      kind: "DeleteOptions",
      gracePeriodSeconds: 30,
      propagationPolicy: "Foreground",
      preconditions: { uid: created.metadata.uid },
    });
    expect(await deleteObject(cluster, jobs, "default", "j", options)).toBe(false);
    expect(server.requests.every(({ headers }) => headers.authorization === "Bearer token")).toBe(true);
  });

  test("of the same name that was created later is not deleted", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    const { metadata } = server.put("jobs", { metadata: { name: "j" } });
    server.remove("jobs", "default", "j");
    server.put("jobs", { metadata: { name: "j" } });
    const error = await rejectionOf(deleteObject(cluster, jobs, "default", "j", { uid: metadata.uid }));
    expect(isConflict(error)).toBe(true);
    expect((await readObject(cluster, jobs, "default", "j", {})).metadata.name).toBe("j");
  });

  test("whose creation was not answered exists when it is created again", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    let isLost = false;
    server.faults.push((request) => {
      if (request.verb !== "create" || isLost) return undefined;
      isLost = true;
      server.put("jobs", { metadata: { name: "j" } });
      return cut;
    });
    const error = await rejectionOf(createObject(cluster, jobs, "default", job("j"), {}));
    expect(isExisting(error)).toBe(true);
    expect(isConflict(error)).toBe(false);
  });
});

describe("a list", () => {
  test("comes in pages of 500", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    for (let n = 0; n < 1_200; n++) server.put("pods", { metadata: { name: `p${n}`, labels: { own: "1" } } });
    server.put("pods", { metadata: { name: "foreign" } });
    const found = await listObjects(cluster, pods, "default", { labelSelector: "own" }, {});
    expect(new Set(found.map(({ metadata }) => metadata.name)).size).toBe(1_200);
    expect(server.requests.map(({ query }) => query.get("limit"))).toEqual(["500", "500", "500"]);
    expect(server.requests.every(({ query }) => query.get("labelSelector") === "own")).toBe(true);
  });

  test("begins again if the server has forgotten where it was", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    for (let n = 0; n < 700; n++) server.put("pods", { metadata: { name: `p${n}` } });
    let pages = 0;
    server.faults.push(() => {
      if (++pages === 2) server.forget();
      return undefined;
    });
    expect(await listObjects(cluster, pods, "default", {}, {})).toHaveLength(700);
    expect(pages).toBe(4);
  });
});

test("a list whose pages are too large comes in smaller ones", async () => {
  await using server = await startFakeKubernetes();
  using cluster = await openFakeCluster(server, recordingLogger().log);
  for (let n = 0; n < 600; n++) server.put("pods", { metadata: { name: `p${n}` } });
  server.faults.push(({ query }) =>
    Number(query.get("limit")) > 200
      ? (response) => response.writeHead(200, { "content-length": 2 ** 30 }).flushHeaders()
      : undefined,
  );
  expect(await listObjects(cluster, pods, "default", {}, { retries: 0 })).toHaveLength(600);
  expect(server.requests.map(({ query }) => query.get("limit"))).toEqual([
    "500",
    "250",
    "125",
    "125",
    "125",
    "125",
    "125",
  ]);
});

test("JSON that is none of Kubernetes is no object", async () => {
  await using server = await startFakeKubernetes();
  using cluster = await openFakeCluster(server, recordingLogger().log);
  server.faults.push(() => json({ login: "please" }));
  const said = `Cannot reach the Kubernetes API at ${server.url}: what answers there is no Kubernetes API. Check the URL`;
  await expect(readObject(cluster, jobs, "default", "j", { retries: 0 })).rejects.toThrow(said);
  await expect(listObjects(cluster, jobs, "default", {}, { retries: 0 })).rejects.toThrow(said);
});

describe("a transient failure", () => {
  test.each<[string, Answer, number]>([
    ["429 with Retry-After", status(429, { reason: "TooManyRequests" }, { "retry-after": "1" }), 1_000],
    ["503", status(503), 300],
    ["500", status(500, { message: "Internal error occurred: failed calling webhook" }), 300],
    ["a lost connection", cut, 300],
    ["a conflict about a quota", status(409, { reason: "Conflict", details: { kind: "resourcequotas" } }), 300],
    ["a web page", (response) => void response.end("<html>login</html>"), 300],
  ])("such as %s is repeated", async (_what, answer, leastMs) => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    answerNext(server, answer);
    const startedAt = monotonicMs();
    await createObject(cluster, jobs, "default", job("j"), {});
    expect(monotonicMs() - startedAt).toBeGreaterThanOrEqual(leastMs);
    expect(server.requests).toHaveLength(2);
  });

  test("is repeated as often as the call says, and without an end until its signal aborts", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    server.faults.push(() => status(503));
    const error = await rejectionOf(readVersion(cluster, { retries: 0 }));
    expect(error).toMatchObject({ name: "ClusterError", status: 503 });
    expect(isTransient(error)).toBe(true);
    expect(server.requests).toHaveLength(1);
    const end = new AbortController();
    const endless = readVersion(cluster, { retries: Number.POSITIVE_INFINITY, signal: end.signal });
    setTimeout(() => end.abort(new Error("the end")), 1_200);
    await expect(endless).rejects.toThrow("the end");
    expect(server.requests.length).toBeGreaterThanOrEqual(3);
  });

  test("of a server that is away is said once, and once when it is over", async () => {
    await using server = await startFakeKubernetes();
    const { log, records } = recordingLogger();
    using cluster = await openFakeCluster(server, log);
    await server.stop();
    const calls = [1, 2, 3].map(() => readVersion(cluster, { retries: Number.POSITIVE_INFINITY }));
    await expect(readVersion(cluster, { retries: 0 })).rejects.toThrow(
      `Cannot reach the Kubernetes API at ${server.url}: ECONNREFUSED. Nothing listens there. Is the cluster up`,
    );
    expect(cluster.outage.problem).toMatch(/ECONNREFUSED/);
    await server.start();
    expect(await Promise.all(calls)).toEqual(["v1.34.4", "v1.34.4", "v1.34.4"]);
    expect(cluster.outage.problem).toBeNull();
    expect(records.map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/^Cannot reach .* Flow runs stay as they are until it answers again\.$/),
      expect.stringMatching(/^The Kubernetes API answers again, after \d+ s\.$/),
    ]);
  });

  test("ends the attempt of a server that does not answer", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    server.faults.push(() => () => undefined);
    await expect(readVersion(cluster, { retries: 0, limitMs: 200 })).rejects.toThrow(/no answer within 0.2 s/);
    const { signal } = new AbortController();
    const lines = followLog(cluster, "default", "p", {}, { retries: 0, limitMs: 200, signal });
    await expect(lines.next()).rejects.toThrow(/no answer within 0.2 s/);
  });
});

describe("credentials", () => {
  test("are read again once when the server refuses them", async () => {
    await using server = await startFakeKubernetes();
    await using directory = await makeTemporaryDirectory();
    const tokenFile = join(directory.path, "token");
    await writeFile(tokenFile, "first");
    using cluster = await openFakeCluster(server, recordingLogger().log, { tokenFile });
    server.tokens = new Set(["first"]);
    expect(await readVersion(cluster, {})).toBe("v1.34.4");
    server.tokens = new Set(["second"]);
    await writeFile(tokenFile, "second");
    const both = await Promise.all([readVersion(cluster, {}), readVersion(cluster, {})]);
    expect(both).toEqual(["v1.34.4", "v1.34.4"]);
    server.tokens = new Set(["third"]);
    const before = server.requests.length;
    const error = await rejectionOf(readVersion(cluster, {}));
    expect(server.requests.length - before).toBe(2);
    expect(error).toMatchObject({ status: 401 });
    expect((error as Error).message).toBe(
      `The Kubernetes API at ${server.url} does not accept the credentials of the context 'fake' of the cluster_config block. They may have expired: renew them there. (GET /version: 401)`,
    );
  });

  test("are in no message, even if the server repeats them", async () => {
    await using server = await startFakeKubernetes();
    const { log, records } = recordingLogger();
    using cluster = await openFakeCluster(server, log, { token: "s3cret-token" });
    server.faults.push(({ headers }) => status(500, { message: `bad header: ${headers.authorization}` }));
    const error = (await rejectionOf(readVersion(cluster, { retries: 1 }))) as Error;
    expect(error.message).toContain("********");
    expect(JSON.stringify([error.message, error.stack, records])).not.toContain("s3cret-token");
  });

  test("may be a client certificate, and the server's certificate is checked", async () => {
    await using server = await startTlsServer();
    const user = { "client-certificate-data": btoa(certificate), "client-key-data": btoa(privateKey) };
    const trust = { "certificate-authority-data": btoa(certificate) };
    using cluster = await openFakeCluster({ url: server.origin }, recordingLogger().log, user, trust);
    expect(await cluster.request("GET", "/version")).toEqual({ secure: true });
    const socket = server.requests[0]?.socket as TLSSocket;
    expect(socket.getPeerCertificate().subject?.CN).toBe("127.0.0.1");
    using distrustful = await openFakeCluster({ url: server.origin }, recordingLogger().log, user);
    await expect(readVersion(distrustful, { retries: 0 })).rejects.toThrow(
      /self.signed certificate \(DEPTH_ZERO_SELF_SIGNED_CERT\)\. Its certificate is not from the authority of the kubeconfig\./,
    );
    using misnamed = await openFakeCluster({ url: server.origin }, recordingLogger().log, user, {
      ...trust,
      "tls-server-name": "other.example",
    });
    await expect(readVersion(misnamed, { retries: 0 })).rejects.toThrow(/for other host names.*tls-server-name/);
    using careless = await openFakeCluster({ url: server.origin }, recordingLogger().log, user, {
      "insecure-skip-tls-verify": true,
    });
    expect(await careless.request("GET", "/version")).toEqual({ secure: true });
  });
});

describe("a proxy", () => {
  test("of the kubeconfig is used for requests and for streams", async () => {
    await using server = await startFakeKubernetes();
    await using proxy = await startForwardProxy({ credentials: "u:passw0rd" });
    server.logs.set("p", "one\n");
    using cluster = await openFakeCluster(
      server,
      recordingLogger().log,
      {},
      { "proxy-url": proxy.urlWith("u:passw0rd") },
    );
    expect(await readVersion(cluster, {})).toBe("v1.34.4");
    for await (const line of followLog(cluster, "default", "p", {}, {})) expect(line).toBe("one");
    expect(proxy.forwarded).toHaveLength(2);
    using refused = await openFakeCluster(server, recordingLogger().log, {}, { "proxy-url": proxy.urlWith("u:wr0ng") });
    const error = await rejectionOf(readVersion(refused, { retries: 0 }));
    expect((error as Error).message).toMatch(
      /the proxy .* of proxy-url of the context 'fake'.* refused the user and pass/,
    );
    expect((error as Error).message).not.toContain("wr0ng");
  });
});

test("a client certificate is shown to the API server behind a proxy, and not to the proxy", async () => {
  await using server = await startTlsServer();
  await using proxy = await startForwardProxy();
  const user = { "client-certificate-data": btoa(certificate), "client-key-data": btoa(privateKey) };
  using cluster = await openFakeCluster({ url: server.origin }, recordingLogger().log, user, {
    "certificate-authority-data": btoa(certificate),
    "proxy-url": proxy.url,
  });
  expect(await cluster.request("GET", "/version")).toEqual({ secure: true });
  expect(proxy.tunnels).toHaveLength(1);
  const socket = server.requests[0]?.socket as TLSSocket;
  expect(socket.getPeerCertificate().subject?.CN).toBe("127.0.0.1");
});

describe("a log", () => {
  test("is read from its end, and followed to its end", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    server.logs.set("p", "one\ntwo\nthree\n");
    const selection = { tailLines: 2, container: "prefect-job", previous: true };
    expect(await readLog(cluster, "default", "p", selection, {})).toBe("two\nthree\n");
    expect(server.requests.at(-1)?.query.toString()).toMatch(/^tailLines=2&container=prefect-job&previous=true&limitB/);
    const lines: string[] = [];
    for await (const line of followLog(cluster, "default", "p", { sinceTime: "2026-01-01T00:00:00Z" }, {})) {
      lines.push(line);
    }
    expect(lines).toEqual(["one", "two", "three"]);
  });

  // Seen with Kubernetes 1.34: the API server asks the node, and passes its silence on as a 500.
  test("of a node that does not answer is no outage of the cluster", async () => {
    await using server = await startFakeKubernetes();
    const { log, warnings } = recordingLogger();
    using cluster = await openFakeCluster(server, log);
    const message = 'Get "https://node-1:10250/containerLogs/default/p/c": net/http: TLS handshake timeout';
    server.faults.push(({ resource }) => (resource === "pods/log" ? status(500, { message }) : undefined));
    for (let times = 0; times < 3; times++) {
      await expect(readLog(cluster, "default", "p", {}, { retries: 0 })).rejects.toThrow("TLS handshake timeout");
      await expect(followLog(cluster, "default", "p", {}, { retries: 0 }).next()).rejects.toThrow("handshake");
    }
    expect([cluster.outage.problem, warnings()]).toEqual([null, []]);
  });

  test("whose connection is lost fails after the lines that came", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    answerNext(server, (response) => {
      response.write("one\ntw", () => setTimeout(() => response.socket?.destroy(), 50));
    });
    const lines = followLog(cluster, "default", "p", {}, {});
    expect((await lines.next()).value).toBe("one");
    await expect(lines.next()).rejects.toMatchObject({ name: "ClusterUnreachableError", code: "ECONNRESET" });
  });
});

test("events about an object come in the order of their times", async () => {
  await using server = await startFakeKubernetes();
  using cluster = await openFakeCluster(server, recordingLogger().log);
  const event = (name: string, uid: string, lastTimestamp: string | null) =>
    server.put("events", { metadata: { name }, reason: name, lastTimestamp, involvedObject: { uid } });
  event("later", "u", "2026-01-01T00:00:02Z");
  event("sooner", "u", "2026-01-01T00:00:01Z");
  event("foreign", "v", null);
  const found = await listEvents(cluster, "default", { uid: "u" }, {});
  expect(found.map(({ reason }) => reason)).toEqual(["sooner", "later"]);
});

test("permissions, version and identity of the cluster can be asked for", async () => {
  await using server = await startFakeKubernetes();
  using cluster = await openFakeCluster(server, recordingLogger().log);
  server.isDenied = ({ resource, namespace }) => resource === "pods/log" && namespace === "b";
  const permission = { verb: "get", resource: pods, subresource: "log" };
  expect(await isAllowed(cluster, { ...permission, namespace: "a" }, {})).toBe(true);
  expect(await isAllowed(cluster, { ...permission, namespace: "b" }, {})).toBe(false);
  expect(await readVersion(cluster, {})).toBe("v1.34.4");
  expect(await readClusterUid(cluster, {})).toBe("uid-of-cluster");
});

describe("a refusal", () => {
  const body = (message: string, more: JsonObject = {}) => ({ message, ...more });
  test.each<[string, number, JsonObject, string]>([
    [
      "of the permission",
      403,
      body(
        'jobs.batch is forbidden: User "system:serviceaccount:a:worker" cannot create resource "jobs" in API group "batch" in the namespace "flows"',
      ),
      `'system:serviceaccount:a:worker' may not create jobs in namespace 'flows'. Add this rule to a Role of namespace 'flows' that is bound to it: {apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"]}.`,
    ],
    [
      "of a permission in the whole cluster",
      403,
      body('namespaces "kube-system" is forbidden: User "jane" cannot get resource "namespaces" in API group ""'),
      `'jane' may not get namespaces in the whole cluster. Add this rule to a ClusterRole that is bound to it: {apiGroups: [""], resources: ["namespaces"], verbs: ["get"]}.`,
    ],
    [
      "by a quota",
      403,
      body('pods "x" is forbidden: exceeded quota: q, requested: cpu=2, used: cpu=3, limited: cpu=4'),
      'The quota of the namespace does not allow it: pods "x" is forbidden: exceeded quota: q, requested: cpu=2, used: cpu=3, limited: cpu=4. Raise the quota, lower the requests and limits of the job, or set a concurrency limit on the work pool.',
    ],
    [
      "by pod security",
      403,
      body('pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'),
      'The pod security standard of the namespace does not allow it: pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true. Change the securityContext in the job manifest of the work pool.',
    ],
    [
      "by a namespace that is being deleted",
      403,
      body("unable to create new content in namespace x because it is being terminated"),
      "The namespace is being deleted: unable to create new content in namespace x because it is being terminated. Use another namespace.",
    ],
    [
      "by an admission webhook",
      403,
      body('admission webhook "policy" denied the request:\n  no latest tags.'),
      'The cluster refuses it: admission webhook "policy" denied the request: no latest tags.',
    ],
    [
      "of a manifest",
      422,
      body("Job.batch is invalid", {
        details: {
          kind: "Job",
          name: "My Name-x",
          causes: [
            { field: "metadata.name", message: 'Invalid value: "My Name-x": must be lower case' },
            { field: "spec.x", message: "Required value" },
          ],
        },
      }),
      `The manifest of Job 'My Name-x' is not valid: metadata.name: Invalid value: "My Name-x": must be lower case; spec.x: Required value. Correct the job manifest of the work pool, or the job variables.`,
    ],
    [
      "of a quantity",
      400,
      body("quantities must match the regular expression"),
      "quantities must match the regular expression",
    ],
    [
      "by a proxy",
      404,
      {},
      "There is no such route at URL: no reason given. Check the URL of the cluster, which may need a path prefix.",
    ],
  ])("%s says what to do", async (_what, code, answer, message) => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    answerNext(server, status(code, answer));
    const error = (await rejectionOf(createObject(cluster, jobs, "default", job("j"), {}))) as Error;
    const end = `(POST /apis/batch/v1/namespaces/default/jobs: ${code})`;
    const whole = code === 400 ? `${message} ${end}.` : `${message} ${end}`;
    expect(error.message).toBe(whole.replace("URL", server.url));
    expect(server.requests).toHaveLength(1);
  });

  test("of a namespace that does not exist says so", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    await expect(createObject(cluster, jobs, "nowhere", job("j"), {})).rejects.toThrow(
      "The namespace 'nowhere' does not exist. Create it, or set another namespace in the work pool or the deployment. (POST /apis/batch/v1/namespaces/nowhere/jobs: 404)",
    );
  });

  test("by a login page does not show the page", async () => {
    await using server = await startFakeKubernetes();
    using cluster = await openFakeCluster(server, recordingLogger().log);
    answerNext(server, (response) => void response.writeHead(403).end("<html><body>Sign in</body></html>"));
    await expect(readVersion(cluster, {})).rejects.toThrow(
      "The cluster refuses it: a web page, not the Kubernetes API. (GET /version: 403)",
    );
    answerNext(server, json("ok"));
    expect(await cluster.request("GET", "/x")).toBe("ok");
  });
});
