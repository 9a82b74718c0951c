// A real Kubernetes without nodes: etcd, API server and controllers on loopback. The test plays scheduler and kubelet.
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { JsonObject } from "../../src/api/wire.ts";
import { findFreePort } from "./free-port.ts";
import { findControlPlane } from "./kubernetes-binaries.ts";
import { endChild, signalProcess } from "./processes.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";
import { waitFor } from "./wait-for.ts";

/** A running cluster. Disposing ends it and removes its data. */
export interface KubernetesCluster extends AsyncDisposable {
  readonly url: string;
  /** The token of a user that may do everything. */
  readonly adminToken: string;
  /** Returns a kubeconfig with this user. */
  kubeconfig(user: JsonObject): JsonObject;
  /** The process id of the API server. */
  apiServerPid(): number;
  /** Ends the API server by this signal, and starts it again after `pauseMs`. Waits until it answers. */
  restart(how: "SIGTERM" | "SIGKILL", pauseMs: number): Promise<void>;
  /** Ends the API server at once, forgets all old versions of objects, and starts it again. */
  restartAndForget(): Promise<void>;
}

const startMs = 120_000;
const stopMs = 15_000;
/** An API server that is told to end waits for its watches much longer, and a supervisor does not. */
const apiServerStopMs = 3_000;
/** Those that the tests need. The others would look after nodes, which are missing. */
const controllers = "job,ttl-after-finished,garbagecollector,serviceaccount,namespace,resourcequota,disruption";

/** Starts a cluster. Throws with the end of a program's log if it does not come up. */
export async function startKubernetes(): Promise<KubernetesCluster> {
  const programs = await findControlPlane();
  const directory = await makeTemporaryDirectory("lictor-kubernetes-");
  const place = (name: string): string => join(directory.path, name);
  const [etcdPort, peerPort, port] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const [etcd, peer, url] = [
    `http://127.0.0.1:${etcdPort}`,
    `http://127.0.0.1:${peerPort}`,
    `https://127.0.0.1:${port}`,
  ];
  const adminToken = randomUUID();
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  await writeFile(place("service-accounts.key"), privateKey.export({ type: "pkcs1", format: "pem" }));
  await writeFile(place("tokens.csv"), `${adminToken},admin,admin,"system:masters"\n`);
  await mkdir(place("certificates"));

  const running = new Map<string, ChildProcess>();
  process.once("exit", () => {
    for (const { pid } of running.values()) if (pid) signalProcess(pid, "SIGKILL");
  });
  const start = (name: string, program: string, args: readonly string[]): void => {
    const log = openSync(place(`${name}.log`), "a");
    running.set(name, spawn(program, args, { stdio: ["ignore", log, log] }));
  };
  const untilItAnswers = async (name: string, what: string, token?: string): Promise<void> => {
    const answers = async (): Promise<boolean> => {
      if (running.get(name)?.exitCode != null) throw new Error(`${name} has ended: ${await logOf(name)}`);
      return await ask(what, token);
    };
    await waitFor(answers, { timeoutMs: startMs, intervalMs: 200, what: name });
  };
  const logOf = async (name: string): Promise<string> => (await readFile(place(`${name}.log`), "utf8")).slice(-1_000);
  const end = async (name: string, graceMs: number): Promise<void> => {
    const child = running.get(name);
    if (child?.pid) await endChild(child, child.pid, graceMs);
  };
  const cluster: KubernetesCluster = {
    url,
    adminToken,
    kubeconfig: (user) => ({
      clusters: [{ name: "c", cluster: { server: url, "certificate-authority": place("certificates/apiserver.crt") } }],
      users: [{ name: "u", user }],
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      "current-context": "c",
    }),
    apiServerPid: () => running.get("kube-apiserver")?.pid ?? 0,
    async restart(how, pauseMs) {
      await end("kube-apiserver", how === "SIGTERM" ? apiServerStopMs : 0);
      await delay(pauseMs);
      startApi();
      await untilItAnswers("kube-apiserver", `${url}/readyz`, adminToken);
    },
    async restartAndForget() {
      await end("kube-apiserver", 0);
      await compact(etcd);
      startApi();
      await untilItAnswers("kube-apiserver", `${url}/readyz`, adminToken);
    },
    async [Symbol.asyncDispose]() {
      for (const name of ["kube-controller-manager", "kube-apiserver", "etcd"]) await end(name, stopMs);
      await directory[Symbol.asyncDispose]();
    },
  };

  const startApi = (): void =>
    start("kube-apiserver", join(programs, "kube-apiserver"), [
      `--etcd-servers=${etcd}`,
      ...["--bind-address=127.0.0.1", `--secure-port=${port}`, "--endpoint-reconciler-type=none"],
      ...["--service-cluster-ip-range=10.96.0.0/24", `--cert-dir=${place("certificates")}`],
      ...[`--token-auth-file=${place("tokens.csv")}`, "--authorization-mode=RBAC"],
      ...[
        "--service-account-issuer=https://kubernetes.default.svc",
        `--service-account-key-file=${place("service-accounts.key")}`,
      ],
      `--service-account-signing-key-file=${place("service-accounts.key")}`,
    ]);
  try {
    start("etcd", "etcd", [
      ...["--data-dir", place("etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `default=${peer}`],
    ]);
    await untilItAnswers("etcd", `${etcd}/health`);
    startApi();
    await untilItAnswers("kube-apiserver", `${url}/readyz`, adminToken);
    await writeFile(place("controllers.json"), JSON.stringify(cluster.kubeconfig({ token: adminToken })));
    start("kube-controller-manager", join(programs, "kube-controller-manager"), [
      ...[`--kubeconfig=${place("controllers.json")}`, "--leader-elect=false", "--bind-address=127.0.0.1"],
      ...[
        `--controllers=${controllers}`,
        `--cert-dir=${place("controllers")}`,
        `--secure-port=${await findFreePort()}`,
      ],
    ]);
    const account = `${url}/api/v1/namespaces/default/serviceaccounts/default`;
    await untilItAnswers("kube-controller-manager", account, adminToken);
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
  return cluster;
}

/** Returns whether the URL answers with 200. The certificate is not looked at. */
async function ask(url: string, token?: string): Promise<boolean> {
  const { request } = await (url.startsWith("https:") ? import("node:https") : import("node:http"));
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  return await new Promise<boolean>((resolve) => {
    const asking = request(url, { headers, rejectUnauthorized: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asking.on("timeout", () => asking.destroy());
    asking.on("error", () => resolve(false));
    asking.end();
  });
}

/** Forgets all versions but the newest. */
async function compact(etcd: string): Promise<void> {
  const post = async (path: string, body: object): Promise<{ header: { revision: string } }> => {
    const response = await fetch(`${etcd}${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd answers ${response.status}: ${await response.text()}`);
    return (await response.json()) as { header: { revision: string } };
  };
  const { header } = await post("/v3/kv/range", { key: Buffer.from("/").toString("base64") });
  await post("/v3/kv/compaction", { revision: header.revision, physical: true });
}
