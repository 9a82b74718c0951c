// A Docker engine of the tests' own: own socket, data, bridge and cgroup. It reaches this machine and nothing else.
import { mkdtemp, readdir, readFile, readlink, realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withImages } from "./engine-images.ts";
import { type DockerEngine, startEngine } from "./engine-program.ts";
import { signalProcess } from "./processes.ts";
import { isInstalled, runCommand, runOrThrow } from "./run-command.ts";

/** Finds out why no engine can be started here; undefined if one can. */
export async function whyNoEngine(): Promise<string | undefined> {
  if (process.platform !== "linux") return "an engine of the tests' own needs Linux";
  if (process.getuid?.() !== 0) return "an engine of the tests' own needs root";
  for (const program of ["dockerd", "busybox", "ip"]) {
    if (!(await isInstalled(program)))
      return `${program} is not installed (Debian: apt-get install docker.io busybox-static iproute2)`;
  }
  return undefined;
}

/** Starts an engine with both images, with further options of dockerd. Throws with the end of its log if it does not come up. */
export async function startDockerEngine(options: readonly string[] = []): Promise<DockerEngine> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "lictor-docker-")));
  const number = process.pid % 200;
  // Network interfaces have at most 15 characters.
  const names = { bridge: `lictor${process.pid}`.slice(0, 15), cgroup: `lictor-docker-${process.pid}` };
  await runOrThrow("ip", ["link", "add", names.bridge, "type", "bridge"]);
  await runOrThrow("ip", ["addr", "add", `${gatewayOf(number)}/24`, "dev", names.bridge]);
  await runOrThrow("ip", ["link", "set", names.bridge, "up"]);
  const engine = await startEngine({
    directory,
    command: ["dockerd", ...engineArguments(directory, number, names), ...options],
    socketPath: join(directory, "docker.sock"),
    cleanUp: () => cleanUp(directory, names),
  });
  return await withImages(engine, directory);
}

function gatewayOf(number: number): string {
  return `198.18.${number}.1`;
}

function engineArguments(directory: string, number: number, names: { bridge: string; cgroup: string }): string[] {
  return [
    ...["--data-root", join(directory, "data"), "--exec-root", join(directory, "run")],
    ...["--pidfile", join(directory, "dockerd.pid"), "-H", `unix://${join(directory, "docker.sock")}`],
    ...["--bridge", names.bridge, "--host-gateway-ip", gatewayOf(number)],
    // It must not change the firewall of this machine.
    ...["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"],
    ...["--default-address-pool", `base=198.19.${number & 0xf0}.0/20,size=24`],
    ...["--cgroup-parent", `/${names.cgroup}`, "--live-restore", "--log-level", "warn"],
  ];
}

/** Ends what dockerd left, and removes its bridge and its cgroups. */
async function cleanUp(directory: string, names: { bridge: string; cgroup: string }): Promise<void> {
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const words = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    const program = await readlink(`/proc/${entry}/exe`).catch(() => "");
    if (/containerd/.test(program) && words.includes(`${directory}/`)) signalProcess(Number(entry), "SIGKILL");
  }
  await runCommand("ip", ["link", "del", names.bridge]);
  await runCommand("sh", [
    "-c",
    `find /sys/fs/cgroup -depth -type d -path '*/${names.cgroup}*' -exec rmdir {} + 2>/dev/null`,
  ]);
}
