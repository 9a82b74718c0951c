// A Docker engine of the tests' own: own socket, data, bridge and cgroup. It reaches this machine and nothing else.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, readlink, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inCheckout } from "./checkout.ts";
import { endChild, signalProcess } from "./processes.ts";
import { ensurePythonEnvironment } from "./python-environment.ts";
import { runCommand } from "./run-command.ts";
import { waitFor } from "./wait-for.ts";

/** The answer of the engine. */
export interface EngineAnswer<T> {
  status: number;
  body: T;
}

/** A running engine. Disposing ends it and its containers, and removes all that it has made. */
export interface DockerEngine extends AsyncDisposable {
  /** The value of DOCKER_HOST. */
  host: string;
  socketPath: string;
  pid(): number;
  request<T = unknown>(method: string, path: string, body?: unknown): Promise<EngineAnswer<T>>;
  /** Stops dockerd by a signal. Containers go on, because it runs with --live-restore. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
}

/** An image with a shell and its tools. */
export const BUSYBOX = "localhost/busybox:1";
/** An image whose programs are those of this machine, and the Prefect of the test environment. See `hostVolumes`. */
export const HOST_IMAGE = "localhost/host:1";

/** Finds out why no engine can be started here; undefined if one can. */
export async function whyNoEngine(): Promise<string | undefined> {
  if (process.platform !== "linux") return "an engine of the tests' own needs Linux";
  if (process.getuid?.() !== 0) return "an engine of the tests' own needs root";
  for (const program of ["dockerd", "busybox", "ip"]) {
    const { code } = await runCommand("sh", ["-c", `command -v ${program}`]);
    if (code !== 0) return `${program} is not installed (Debian: apt-get install docker.io busybox-static iproute2)`;
  }
  return undefined;
}

const START_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 15_000;

/** Starts an engine with both images, with further options of dockerd. Throws with the end of its log if it does not come up. */
export async function startDockerEngine(options: readonly string[] = []): Promise<DockerEngine> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "lictor-docker-")));
  const number = process.pid % 200;
  // Network interfaces have at most 15 characters.
  const names = { bridge: `lictor${process.pid}`.slice(0, 15), cgroup: `lictor-docker-${process.pid}` };
  const socketPath = join(directory, "docker.sock");
  const log = join(directory, "dockerd.log");
  let child: ChildProcess | undefined;
  const request: DockerEngine["request"] = (method, path, body) => askEngine(socketPath, method, path, body);
  const endAtExit = () => child?.pid && signalProcess(child.pid, "SIGKILL");
  process.once("exit", endAtExit);
  const engine: DockerEngine = {
    host: `unix://${socketPath}`,
    socketPath,
    pid: () => child?.pid ?? 0,
    request,
    async start() {
      child = spawn(
        "sh",
        ["-c", `exec dockerd "$@" >>"${log}" 2>&1`, "sh", ...engineArguments(directory, number, names), ...options],
        {
          stdio: "ignore",
          detached: true,
        },
      );
      const isUp = async () => {
        if (child?.exitCode !== null) throw new Error(`dockerd ended:\n${(await readFile(log, "utf8")).slice(-2000)}`);
        return (await request("GET", "/_ping").catch(() => undefined))?.status === 200;
      };
      await waitFor(isUp, { timeoutMs: START_TIMEOUT_MS, what: "dockerd" });
    },
    async stop(signal = "SIGTERM") {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    },
    async [Symbol.asyncDispose]() {
      await removeContainers(engine).catch(() => undefined);
      if (child?.pid) await endChild(child, child.pid, STOP_GRACE_MS);
      process.off("exit", endAtExit);
      await cleanUp(directory, names);
    },
  };
  try {
    await runOrThrow("ip", ["link", "add", names.bridge, "type", "bridge"]);
    await runOrThrow("ip", ["addr", "add", `${gatewayOf(number)}/24`, "dev", names.bridge]);
    await runOrThrow("ip", ["link", "set", names.bridge, "up"]);
    await engine.start();
    await importBusybox(engine, directory);
    await importHostImage(engine, directory);
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
  return engine;
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

/** Sends one request to the engine. */
async function askEngine<T>(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<EngineAnswer<T>> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return await new Promise((resolve, reject) => {
    const request = httpRequest(
      { socketPath, method, path, headers: text === undefined ? {} : { "content-type": "application/json" } },
      (response) => {
        let answer = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          answer += part;
        });
        response.on("end", () => {
          const isJson = /json/.test(response.headers["content-type"] ?? "") && answer !== "";
          resolve({ status: response.statusCode ?? 0, body: (isJson ? JSON.parse(answer) : answer) as T });
        });
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    request.end(text);
  });
}

/** Imports a directory as an image. */
export async function importImage(
  { socketPath }: DockerEngine,
  name: string,
  directory: string,
  changes: readonly string[] = [],
): Promise<void> {
  const [repo = "", tag = ""] = name.split(/:(?=[^:]*$)/);
  const query = new URLSearchParams({ fromSrc: "-", repo, tag });
  for (const change of changes) query.append("changes", change);
  const tar = spawn("tar", ["-C", directory, "-c", "."], { stdio: ["ignore", "pipe", "ignore"] });
  const answer = await new Promise<string>((resolve, reject) => {
    const headers = { "content-type": "application/x-tar" };
    const request = httpRequest(
      { socketPath, method: "POST", path: `/images/create?${query}`, headers },
      (response) => {
        let text = "";
        response.on("data", (part) => {
          text += String(part);
        });
        response.on("end", () => resolve(text));
      },
    );
    request.on("error", reject);
    tar.stdout.pipe(request);
  });
  if (!answer.includes("sha256:")) throw new Error(`the import of ${name} failed: ${answer}`);
}

async function importBusybox(engine: DockerEngine, directory: string): Promise<void> {
  const root = join(directory, "busybox");
  await mkdir(join(root, "bin"), { recursive: true });
  await mkdir(join(root, "tmp"));
  const { stdout } = await runCommand("sh", ["-c", "command -v busybox"]);
  await cp(await realpath(stdout.trim()), join(root, "bin/busybox"));
  await runOrThrow(join(root, "bin/busybox"), ["--install", "-s", join(root, "bin")]);
  for (const applet of await readdir(join(root, "bin"))) {
    if (applet === "busybox") continue;
    await rm(join(root, "bin", applet));
    await symlink("busybox", join(root, "bin", applet));
  }
  await importImage(engine, BUSYBOX, root);
}

/** A few empty directories, the links of the root directory, and a `prefect` that runs the Prefect of the test environment. */
async function importHostImage(engine: DockerEngine, directory: string): Promise<void> {
  const { python } = await ensurePythonEnvironment(console.error);
  const root = join(directory, "host");
  for (const name of ["usr", "etc", "tmp", "root", "proc", "sys", "dev", "opt", "var", "run", "home", "lictor"]) {
    await mkdir(join(root, name), { recursive: true });
  }
  for (const name of ["bin", "sbin", "lib", "lib32", "lib64"]) {
    const target = await readlink(`/${name}`).catch(() => undefined);
    if (target !== undefined) await symlink(target, join(root, name));
  }
  for (const name of ["passwd", "group", "nsswitch.conf", "ld.so.cache"]) {
    await cp(`/etc/${name}`, join(root, "etc", name), { dereference: true }).catch(() => undefined);
  }
  // The programs of an environment name the place where it was built, which may be gone.
  await writeFile(join(root, "lictor/prefect"), `#!/bin/sh\nexec ${python} -m prefect "$@"\n`, { mode: 0o755 });
  await importImage(engine, HOST_IMAGE, root, ["ENV PATH=/lictor:/usr/local/bin:/usr/bin:/bin", "ENV HOME=/root"]);
}

/** The volumes that a container of the host image needs: the programs of this machine, the test environment, the flows. */
export async function hostVolumes(): Promise<string[]> {
  const { python } = await ensurePythonEnvironment(console.error);
  const base = await realpath(python);
  const paths = ["/usr", dirname(dirname(python)), inCheckout("test/fixtures")];
  // An interpreter outside of /usr is mounted with its libraries.
  if (!base.startsWith("/usr/")) paths.push(dirname(dirname(base)));
  return [...new Set(paths)].map((path) => `${path}:${path}:ro`);
}

async function removeContainers(engine: DockerEngine): Promise<void> {
  const { body } = await engine.request<{ Id: string }[]>("GET", "/containers/json?all=1");
  for (const { Id } of body) await engine.request("DELETE", `/containers/${Id}?force=1&v=1`);
}

/** Ends what dockerd left, and removes its mounts, its bridge, its cgroups and its files. */
async function cleanUp(directory: string, names: { bridge: string; cgroup: string }): Promise<void> {
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const words = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    const program = await readlink(`/proc/${entry}/exe`).catch(() => "");
    if (/containerd/.test(program) && words.includes(`${directory}/`)) signalProcess(Number(entry), "SIGKILL");
  }
  const mounts = (await readFile("/proc/mounts", "utf8")).split("\n").map((line) => line.split(" ")[1] ?? "");
  for (const mount of mounts.filter((path) => path.startsWith(`${directory}/`)).reverse()) {
    await runCommand("umount", ["-l", mount]);
  }
  await runCommand("ip", ["link", "del", names.bridge]);
  await runCommand("sh", [
    "-c",
    `find /sys/fs/cgroup -depth -type d -path '*/${names.cgroup}*' -exec rmdir {} + 2>/dev/null`,
  ]);
  await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

async function runOrThrow(command: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runCommand(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: exit ${code}\n${stderr}`);
}
