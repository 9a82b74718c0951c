// A real Kubernetes without nodes: etcd, API server and controllers on loopback. The test plays scheduler and kubelet, or it
// starts them too, see `whole-cluster.ts`.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { JsonObject } from "../../src/api/wire.ts";
import { findFreePort } from "./free-port.ts";
import { controlPlane, findPrograms } from "./kubernetes-binaries.ts";
import { LoggedPrograms } from "./logged-programs.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

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

/** What a cluster with nodes needs besides. */
export interface NodeSupport {
  /** The addresses of services. The first one is that of the API server for pods. */
  readonly serviceRange: string;
  /** The certificate and the key that the API server shows to nodes, as files. */
  readonly kubeletClient: { readonly certificate: string; readonly key: string };
}

const stopMs = 15_000;
/** An API server that is told to end waits for its watches much longer, and a supervisor does not. */
const apiServerStopMs = 3_000;
/** Those that the tests need. The others would look after nodes, which are missing. */
const controllers = "job,ttl-after-finished,garbagecollector,serviceaccount,namespace,resourcequota,disruption";
/** Those for nodes, for what pods find in their files, and for Deployments. */
const furtherControllers =
  "nodelifecycle,taint-eviction-controller,podgc,root-ca-certificate-publisher-controller,deployment,replicaset";

/** Starts a cluster. Throws with the end of a program's log if it does not come up. */
export async function startKubernetes(nodes?: NodeSupport): Promise<KubernetesCluster> {
  const programs = await findPrograms(controlPlane);
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

  const running = new LoggedPrograms(directory.path);
  const untilItAnswers = async (name: string, what: string, token?: string): Promise<void> =>
    await running.untilReady(name, async () => (await readUrl(what, token)) !== undefined);
  const cluster: KubernetesCluster = {
    url,
    adminToken,
    kubeconfig: (user) => ({
      clusters: [{ name: "c", cluster: { server: url, "certificate-authority": place("certificates/apiserver.crt") } }],
      users: [{ name: "u", user }],
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      "current-context": "c",
    }),
    apiServerPid: () => running.pid("kube-apiserver"),
    async restart(how, pauseMs) {
      await running.end("kube-apiserver", how === "SIGTERM" ? apiServerStopMs : 0);
      await delay(pauseMs);
      startApi();
      await untilItAnswers("kube-apiserver", `${url}/readyz`, adminToken);
    },
    async restartAndForget() {
      await running.end("kube-apiserver", 0);
      await compact(etcd);
      startApi();
      await untilItAnswers("kube-apiserver", `${url}/readyz`, adminToken);
    },
    async [Symbol.asyncDispose]() {
      await running.endAll(stopMs);
      await directory[Symbol.asyncDispose]();
    },
  };

  const startApi = (): void =>
    running.start("kube-apiserver", join(programs, "kube-apiserver"), [
      `--etcd-servers=${etcd}`,
      ...["--bind-address=127.0.0.1", `--secure-port=${port}`, "--endpoint-reconciler-type=none"],
      ...["--service-cluster-ip-range=10.96.0.0/24", `--cert-dir=${place("certificates")}`],
      ...[`--token-auth-file=${place("tokens.csv")}`, "--authorization-mode=RBAC"],
      ...[
        "--service-account-issuer=https://kubernetes.default.svc",
        `--service-account-key-file=${place("service-accounts.key")}`,
      ],
      `--service-account-signing-key-file=${place("service-accounts.key")}`,
      ...(nodes === undefined ? [] : forNodes(nodes)),
    ]);
  try {
    running.start("etcd", "etcd", [
      ...["--data-dir", place("etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `default=${peer}`],
    ]);
    await untilItAnswers("etcd", `${etcd}/health`);
    startApi();
    await untilItAnswers("kube-apiserver", `${url}/readyz`, adminToken);
    await writeFile(place("controllers.json"), JSON.stringify(cluster.kubeconfig({ token: adminToken })));
    running.start("kube-controller-manager", join(programs, "kube-controller-manager"), [
      ...[`--kubeconfig=${place("controllers.json")}`, "--leader-elect=false", "--bind-address=127.0.0.1"],
      ...[
        `--controllers=${controllers}`,
        `--cert-dir=${place("controllers")}`,
        `--secure-port=${await findFreePort()}`,
      ],
      ...(nodes === undefined
        ? []
        : [`--controllers=${furtherControllers}`, `--root-ca-file=${place("certificates/apiserver.crt")}`]),
    ]);
    const account = `${url}/api/v1/namespaces/default/serviceaccounts/default`;
    await untilItAnswers("kube-controller-manager", account, adminToken);
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
  return cluster;
}

/** Options of the API server. Of two options of the same name, the last one counts. */
function forNodes({ serviceRange, kubeletClient }: NodeSupport): string[] {
  return [
    `--service-cluster-ip-range=${serviceRange}`,
    ...[`--kubelet-client-certificate=${kubeletClient.certificate}`, `--kubelet-client-key=${kubeletClient.key}`],
    "--kubelet-preferred-address-types=InternalIP",
  ];
}

/** Returns what the URL answers with 200, else undefined. The certificate is not looked at. */
export async function readUrl(url: string, token?: string): Promise<string | undefined> {
  const { request } = await (url.startsWith("https:") ? import("node:https") : import("node:http"));
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  return await new Promise((resolve) => {
    const asking = request(url, { headers, rejectUnauthorized: false, timeout: 5_000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("error", () => resolve(undefined));
      response.on("end", () => resolve(response.statusCode === 200 ? text : undefined));
    });
    asking.on("timeout", () => asking.destroy());
    asking.on("error", () => resolve(undefined));
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
