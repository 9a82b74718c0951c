// Images for the engines of the tests, made without a registry.
import { spawn } from "node:child_process";
import { cp, mkdir, readdir, readlink, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { dirname, join } from "node:path";
import { inCheckout } from "./checkout.ts";
import { askEngine, type DockerEngine } from "./engine-program.ts";
import { ensurePythonEnvironment } from "./python-environment.ts";
import { runCommand, runOrThrow } from "./run-command.ts";

/** An image with a shell and its tools. */
export const BUSYBOX = "localhost/busybox:1";
/** An image whose programs are those of this machine, and the Prefect of the test environment. See `hostVolumes`. */
export const HOST_IMAGE = "localhost/host:1";

/** Imports a directory as an image. */
export async function importImage(
  { socketPath }: { socketPath: string },
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
  const [id] = /sha256:[0-9a-f]{64}/.exec(answer) ?? [];
  if (id === undefined) throw new Error(`the import of ${name} failed: ${answer}`);
  // Podman 4 ignores the name.
  await askEngine(socketPath, "POST", `/images/${id}/tag?${new URLSearchParams({ repo, tag })}`);
}

/** Imports the busybox of this machine. `directory` is for its files. */
export async function importBusybox(engine: { socketPath: string }, directory: string): Promise<void> {
  const root = join(directory, "busybox");
  await mkdir(join(root, "bin"), { recursive: true });
  await mkdir(join(root, "tmp"));
  await copyBusybox(join(root, "bin/busybox"));
  await runOrThrow(join(root, "bin/busybox"), ["--install", "-s", join(root, "bin")]);
  for (const applet of await readdir(join(root, "bin"))) {
    if (applet === "busybox") continue;
    await rm(join(root, "bin", applet));
    await symlink("busybox", join(root, "bin", applet));
  }
  await importImage(engine, BUSYBOX, root);
}

/** Copies the busybox of this machine, which needs no libraries. */
export async function copyBusybox(path: string): Promise<void> {
  const { stdout } = await runCommand("sh", ["-c", "command -v busybox"]);
  await cp(await realpath(stdout.trim()), path);
}

/** A few empty directories, the links of the root directory, and a `prefect` that runs the Prefect of the test environment. */
export async function importHostImage(engine: { socketPath: string }, directory: string): Promise<void> {
  const root = join(directory, "host");
  await makeHostRoot(root);
  const changes = Object.entries(hostEnvironment).map(([name, value]) => `ENV ${name}=${value}`);
  await importImage(engine, HOST_IMAGE, root, changes);
}

/** The environment of the host image. */
export const hostEnvironment = { PATH: "/lictor:/usr/local/bin:/usr/bin:/bin", HOME: "/root" } as const;

/** Makes the root directory of the host image. */
export async function makeHostRoot(root: string): Promise<void> {
  const { python } = await ensurePythonEnvironment(console.error);
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
}

/** Imports both images and returns the engine. Ends it if that fails. */
export async function withImages(engine: DockerEngine, directory: string): Promise<DockerEngine> {
  try {
    await importBusybox(engine, directory);
    await importHostImage(engine, directory);
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
  return engine;
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
