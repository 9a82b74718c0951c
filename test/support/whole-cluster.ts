// A whole Kubernetes on this machine: the control plane of `kubernetes-cluster.ts`, the scheduler, and a node whose pods have
// real containers. Only this machine can reach it.
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import type { JsonObject } from "../../src/api/wire.ts";
import { AsyncDisposables } from "../../src/async/async-disposables.ts";
import { makeAuthority } from "./certificates.ts";
import { type ClusterNode, networkPlugins, nodeName, startNode } from "./cluster-node.ts";
import { copyBusybox, HOST_IMAGE, hostEnvironment, makeHostRoot } from "./engine-images.ts";
import { findFreePort } from "./free-port.ts";
import { writeImages } from "./image-archive.ts";
import { findPrograms, wholeCluster, whyNoPrograms } from "./kubernetes-binaries.ts";
import { type KubernetesCluster, readUrl, startKubernetes } from "./kubernetes-cluster.ts";
import { LoggedPrograms } from "./logged-programs.ts";
import { isInstalled, runCommand, runOrThrow } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

/** A cluster with a node, whose image is HOST_IMAGE. */
export interface WholeCluster extends KubernetesCluster, Pick<ClusterNode, "restartKubelet"> {}

const pauseImage = "localhost/pause:1";
const stopMs = 10_000;
/** The API server has this port for pods. */
const servicePort = 443;

/** Finds out why no whole cluster can be started here; undefined if one can. */
export async function whyNoWholeCluster(): Promise<string | undefined> {
  if (process.platform !== "linux") return "a node needs Linux";
  if (process.getuid?.() !== 0) return "a node needs root";
  for (const program of ["etcd", "containerd", "ctr", "runc", "busybox", "ip", "unshare", "nsenter"]) {
    if (!(await isInstalled(program)))
      return `${program} is not installed (Debian: apt-get install etcd-server containerd runc busybox-static iproute2)`;
  }
  if (networkPlugins === undefined)
    return "there are no network plugins (Debian: apt-get install containernetworking-plugins)";
  return await whyNoPrograms(wholeCluster);
}

/** Starts a cluster, and waits until its node takes pods. Throws with the end of a program's log if it does not come up. */
export async function startWholeCluster(): Promise<WholeCluster> {
  await using opened = new AsyncDisposables();
  const bin = await findPrograms(wholeCluster);
  const directory = await makeTemporaryDirectory("lictor-node-");
  opened.add(async () => await directory[Symbol.asyncDispose]());
  const authority = await makeAuthority();
  opened.add(async () => await authority[Symbol.asyncDispose]());
  const address = await addAddress(opened);
  const kubeletClient = {
    certificate: await authority.writeFile("kubelet-client.pem", authority.good.cert),
    key: await authority.writeFile("kubelet-client.key", authority.good.key),
  };
  const cluster = await startKubernetes({ serviceRange: `${address}/24`, kubeletClient });
  opened.add(async () => await cluster[Symbol.asyncDispose]());
  await relayService(address, Number(new URL(cluster.url).port), opened);

  const programs = new LoggedPrograms(directory.path);
  let node: ClusterNode | undefined;
  opened.add(async () => {
    await programs.endAll(stopMs);
    await node?.cleanUp();
  });
  const kubeconfig = join(directory.path, "kubeconfig.json");
  await writeFile(kubeconfig, JSON.stringify(cluster.kubeconfig({ token: cluster.adminToken })));
  programs.start("kube-scheduler", join(bin, "kube-scheduler"), [
    ...[`--kubeconfig=${kubeconfig}`, "--leader-elect=false", "--bind-address=127.0.0.1"],
    ...[`--secure-port=${await findFreePort()}`, `--cert-dir=${join(directory.path, "scheduler")}`],
  ]);
  const folder = join(directory.path, "node");
  await mkdir(folder);
  const files = {
    address,
    folder,
    kubelet: join(bin, "kubelet"),
    kubeconfig,
    clientAuthority: authority.caFile,
    pauseImage,
  };
  node = await startNode(programs, files);
  await importImages(node, directory.path);
  await programs.untilReady("kubelet", () => takesPods(cluster));
  const { restartKubelet } = node;
  return { ...cluster, restartKubelet, ...opened.move() };
}

/** Gives this machine an address that no other machine can reach. It is also the first one of the services. Returns it. */
async function addAddress(opened: AsyncDisposables): Promise<string> {
  const address = `198.18.${200 + (process.pid % 50)}.1`;
  await runOrThrow("ip", ["address", "replace", `${address}/32`, "dev", "lo"]);
  opened.add(async () => void (await runCommand("ip", ["address", "del", `${address}/32`, "dev", "lo"])));
  return address;
}

/** Passes connections to the service `kubernetes` on to the API server, as kube-proxy does. */
async function relayService(address: string, port: number, opened: AsyncDisposables): Promise<void> {
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    client.pipe(upstream).pipe(client);
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
  });
  server.listen(servicePort, address);
  await once(server, "listening");
  opened.add(async () => void server.close());
}

/** The image that holds pods has a program that waits for ever. That of flow runs is the one of `engine-images.ts`. */
async function importImages(node: ClusterNode, folder: string): Promise<void> {
  const root = join(folder, "root");
  await makeHostRoot(root);
  await copyBusybox(join(root, "lictor/busybox"));
  const Env = Object.entries(hostEnvironment).map(([name, value]) => `${name}=${value}`);
  const pause = { Entrypoint: ["/lictor/busybox", "sleep", "2147483647"] };
  await node.importImages(await writeImages(folder, root, { [HOST_IMAGE]: { Env }, [pauseImage]: pause }));
}

/** Returns whether the node is ready, and no taint keeps pods away. */
async function takesPods({ url, adminToken }: KubernetesCluster): Promise<boolean> {
  const text = await readUrl(`${url}/api/v1/nodes/${nodeName}`, adminToken);
  if (text === undefined) return false;
  const { spec, status } = JSON.parse(text) as {
    spec: { taints?: JsonObject[] };
    status: { conditions?: { type: string; status: string }[] };
  };
  const isReady = status.conditions?.some((one) => one.type === "Ready" && one.status === "True");
  return isReady === true && (spec.taints ?? []).length === 0;
}
