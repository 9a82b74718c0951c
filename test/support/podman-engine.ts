// Podman's service with Docker's API, with data of its own.
import { mkdtemp, realpath, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withImages } from "./engine-images.ts";
import { type DockerEngine, startEngine } from "./engine-program.ts";
import { isInstalled } from "./run-command.ts";

/** Finds out why Podman cannot be started here; undefined if it can. */
export async function whyNoPodman(): Promise<string | undefined> {
  if (process.platform !== "linux") return "Podman of the tests' own needs Linux";
  if (process.getuid?.() !== 0) return "Podman of the tests' own needs root";
  for (const program of ["podman", "runc", "busybox"]) {
    if (!(await isInstalled(program)))
      return `${program} is not installed (Debian: apt-get install podman runc busybox-static)`;
  }
  return undefined;
}

/** Starts the service with both images. Containers go on without it. Throws with the end of its log if it does not come up. */
export async function startPodman(): Promise<DockerEngine> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "lictor-podman-")));
  const socketPath = join(directory, "podman.sock");
  const configuration = join(directory, "containers.conf");
  await writeFile(configuration, limits);
  const engine = await startEngine({
    directory,
    command: ["env", `CONTAINERS_CONF=${configuration}`, "podman", ...serviceArguments(directory, socketPath)],
    socketPath,
    cleanUp: async () => {},
  });
  return await withImages(engine, directory);
}

/** Raising the limits of this process, as Podman does, needs a right that a machine of CI may not have. */
const limits = `[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n`;

function serviceArguments(directory: string, socketPath: string): string[] {
  return [
    ...["--root", join(directory, "data"), "--runroot", join(directory, "run"), "--tmpdir", join(directory, "tmp")],
    ...["--network-config-dir", join(directory, "networks"), "--cgroup-manager", "cgroupfs"],
    // crun does not start with both versions of cgroups.
    ...["--runtime", "runc"],
    ...["--events-backend", "file", "--log-level", "warn"],
    ...["system", "service", "--time", "0", `unix://${socketPath}`],
  ];
}
