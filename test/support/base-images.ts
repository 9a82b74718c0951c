// Stand-ins for the base images of docs/deploy/Dockerfile, made of programs of this machine. They have the paths that the build
// and the images use. No registry is needed.
import { chmod, cp, mkdir, readlink, realpath, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { hostVolumes, importImage } from "./engine-images.ts";
import type { DockerEngine } from "./engine-program.ts";
import { LICTOR } from "./lictor.ts";
import { ensurePythonEnvironment } from "./python-environment.ts";
import { runCommand } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

const NODE_IMAGE = "localhost/node:1";
const PYTHON_IMAGE = "localhost/prefect:1";
/** The programs of Debian's tini, on which docker.io depends. */
const TINI = ["/usr/bin/tini", "/usr/bin/tini-static"];

const PATH = "ENV PATH=/usr/local/bin:/usr/bin:/bin";

/** The build arguments that name the stand-ins. */
export const BASE_IMAGES = { NODE_IMAGE, PYTHON_IMAGE } as const;

/** Imports both stand-ins. Containers of the second one need `pythonVolumes`. */
export async function importBaseImages(engine: DockerEngine): Promise<void> {
  await using folder = await makeTemporaryDirectory("lictor-base-images-");
  const [node = ""] = LICTOR;
  const npm = await realpath((await runCommand("sh", ["-c", "command -v npm"])).stdout.trim());
  const nodeRoot = await makeRoot(join(folder.path, "node"), [node]);
  await cp(await realpath(node), join(nodeRoot, "usr/local/bin/node"));
  await cp(dirname(dirname(npm)), join(nodeRoot, "usr/local/lib/npm"), { recursive: true });
  await symlink("../lib/npm/bin/npm-cli.js", join(nodeRoot, "usr/local/bin/npm"));
  await importImage(engine, NODE_IMAGE, nodeRoot, [PATH]);

  const { python } = await ensurePythonEnvironment(console.error);
  const prefectRoot = await makeRoot(join(folder.path, "prefect"), [node]);
  for (const program of TINI) await cp(program, join(prefectRoot, program));
  await writeFile(join(prefectRoot, "usr/local/bin/python"), `#!/bin/sh\nexec ${python} "$@"\n`, { mode: 0o755 });
  await importImage(engine, PYTHON_IMAGE, prefectRoot, [PATH]);
}

/** The volumes for the Python of the second stand-in. */
export async function pythonVolumes(): Promise<string[]> {
  return ["/usr/lib:/usr/lib:ro", ...(await hostVolumes()).filter((volume) => !volume.startsWith("/usr:"))];
}

/** Makes a root directory with busybox and the libraries of these programs. Returns its path. */
async function makeRoot(root: string, programs: readonly string[]): Promise<string> {
  for (const name of ["etc", "tmp", "opt", "var/lib", "usr/bin", "usr/local/bin", "usr/local/lib"]) {
    await mkdir(join(root, name), { recursive: true });
  }
  await chmod(join(root, "tmp"), 0o1777);
  for (const name of ["bin", "lib", "lib64"]) {
    const target = await readlink(`/${name}`).catch(() => undefined);
    if (target !== undefined) await symlink(target, join(root, name));
  }
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  const busybox = (await runCommand("sh", ["-c", "command -v busybox"])).stdout.trim();
  await cp(await realpath(busybox), join(root, "usr/bin/busybox"));
  for (const applet of (await runCommand(busybox, ["--list"])).stdout.trim().split("\n")) {
    if (applet !== "busybox") await symlink("busybox", join(root, "usr/bin", applet));
  }
  for (const program of programs) {
    for (const [, library = ""] of (await runCommand("ldd", [program])).stdout.matchAll(/(\/\S+) \(0x/g)) {
      const path = library.replace(/^\/lib/, "/usr/lib");
      await mkdir(join(root, dirname(path)), { recursive: true });
      await cp(library, join(root, path), { dereference: true });
    }
  }
  return root;
}
