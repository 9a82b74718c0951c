// The node of a Kubernetes cluster: containerd and the kubelet, in namespaces of their own for processes and mounts. So their
// processes, containers and mounts end with the first process, and no kernel setting of this machine is changed.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findFreePort } from "./free-port.ts";
import type { LoggedPrograms } from "./logged-programs.ts";
import { runCommand, runOrThrow } from "./run-command.ts";

/** What a node needs. */
export interface NodeOptions {
  /** An address of this machine that is not 127.0.0.0/8, which the kubelet refuses. */
  readonly address: string;
  /** A folder for all its files. */
  readonly folder: string;
  readonly kubelet: string;
  readonly kubeconfig: string;
  /** The authority of the client that may ask the kubelet, as a file. */
  readonly clientAuthority: string;
  /** The image of the containers that hold pods. It is imported later. */
  readonly pauseImage: string;
}

/** A running node. Its name is that of `nodeName`. */
export interface ClusterNode {
  /** Imports the images of an archive in Docker's format. */
  importImages(archive: string): Promise<void>;
  /** Ends the kubelet and starts it again. Containers go on. */
  restartKubelet(): Promise<void>;
  /** Removes what is left after the programs have ended. */
  cleanUp(): Promise<void>;
}

/** The name of the node. */
export const nodeName = "node-1";

/** Where Debian and others install the network plugins. Pods use the network of the machine, so `loopback` is enough. */
export const networkPlugins = ["/usr/lib/cni", "/opt/cni/bin"].find((folder) => existsSync(join(folder, "loopback")));

const graceMs = 5_000;

/**
 * Arguments: the folder of the node, and the name of its cgroup. The kubelet sets kernel settings unless they have its values,
 * so it sees files with these values. Some paths of containerd and the kubelet cannot be configured.
 */
const script = `
set -e
for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \\
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$1/sysctl-$(echo "\${pair%=*}" | tr / -)
  echo "\${pair#*=}" >"$file"
  mount --bind "$file" "/proc/sys/\${pair%=*}"
done
for folder in /run /var/log /var/lib; do mount -t tmpfs tmpfs "$folder"; done
if [ -f /sys/fs/cgroup/cgroup.procs ]; then groups=/sys/fs/cgroup; else groups=$(echo /sys/fs/cgroup/*); fi
for group in $groups; do
  [ -f "$group/cgroup.procs" ] || continue
  mkdir -p "$group/$2"
  for file in cpuset.cpus cpuset.mems; do
    if [ -f "$group/$file" ]; then cat "$group/$file" >"$group/$2/$file"; fi
  done
done
containerd --config "$1/containerd.toml" &
wait
`;

/** Starts a node. Throws with the end of a program's log if it does not come up. */
export async function startNode(programs: LoggedPrograms, options: NodeOptions): Promise<ClusterNode> {
  const { folder } = options;
  const cgroup = `lictor-kubernetes-${process.pid}`;
  const socket = join(folder, "containerd.sock");
  await mkdir(join(folder, "network"), { recursive: true });
  const network = { cniVersion: "0.4.0", name: "none", plugins: [{ type: "loopback" }] };
  await writeFile(join(folder, "network", "1.conflist"), JSON.stringify(network));
  await writeFile(join(folder, "containerd.toml"), containerdConfig(options, socket));
  await writeFile(join(folder, "kubelet.json"), JSON.stringify(await kubeletConfig(options, socket, cgroup)));

  const own = ["--mount-proc", "--pid", "--fork", "--kill-child=SIGKILL"];
  programs.start("containerd", "unshare", [...own, "sh", "-c", script, "sh", folder, cgroup]);
  const isUp = async (): Promise<boolean> => (await runCommand("ctr", ["-a", socket, "version"])).code === 0;
  await programs.untilReady("containerd", isUp);
  const outer = programs.pid("containerd");
  const first = (await readFile(`/proc/${outer}/task/${outer}/children`, "utf8")).trim();
  const startKubelet = (): void =>
    programs.start("kubelet", "nsenter", [
      ...["--target", first, "--mount", "--pid", options.kubelet],
      ...[`--config=${join(folder, "kubelet.json")}`, `--kubeconfig=${options.kubeconfig}`],
      ...[`--root-dir=${join(folder, "kubelet")}`, `--cert-dir=${join(folder, "certificates")}`],
      ...[`--hostname-override=${nodeName}`, `--node-ip=${options.address}`],
    ]);
  startKubelet();
  return {
    importImages: (archive) =>
      runOrThrow("ctr", ["-a", socket, "-n", "k8s.io", "images", "import", "--no-unpack", archive]),
    async restartKubelet() {
      await programs.end("kubelet", graceMs);
      startKubelet();
    },
    async cleanUp() {
      const find = `find /sys/fs/cgroup -depth -type d -path '*/${cgroup}*' -exec rmdir {} + 2>/dev/null`;
      await runCommand("sh", ["-c", find]);
    },
  };
}

function containerdConfig({ folder, pauseImage }: NodeOptions, socket: string): string {
  const unused = ["aufs", "btrfs", "zfs", "devmapper"].map((name) => `"io.containerd.snapshotter.v1.${name}"`);
  return `
version = 2
root = "${folder}/containerd"
state = "${folder}/containerd-state"
disabled_plugins = [${unused.join(", ")}]
[grpc]
address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "${pauseImage}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${networkPlugins}"
conf_dir = "${folder}/network"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
`;
}

async function kubeletConfig(
  { folder, address, clientAuthority }: NodeOptions,
  socket: string,
  cgroup: string,
): Promise<object> {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    ...{ address, port: await findFreePort(), readOnlyPort: 0, healthzPort: 0 },
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: false },
      x509: { clientCAFile: clientAuthority },
    },
    authorization: { mode: "AlwaysAllow" },
    containerRuntimeEndpoint: `unix://${socket}`,
    ...{ cgroupDriver: "cgroupfs", cgroupRoot: `/${cgroup}`, failCgroupV1: false, failSwapOn: false },
    ...{ oomScoreAdj: 0, makeIPTablesUtilChains: false },
    podLogsDir: join(folder, "pod-logs"),
    volumePluginDir: join(folder, "volume-plugins"),
    // A disk that is rather full must not drive the pods of the tests out.
    evictionHard: { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    imageGCHighThresholdPercent: 100,
  };
}
