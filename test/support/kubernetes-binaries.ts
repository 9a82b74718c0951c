// Where the programs of a Kubernetes control plane come from: a folder, or their Go modules.
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "./checkout.ts";
import { isInstalled, runCommand } from "./run-command.ts";

/** The release that the tests run with. */
export const kubernetesVersion = "1.34.4";

/** The programs of this release for a cluster without nodes. `etcd` may come from anywhere. */
export const controlPlane: readonly string[] = ["kube-apiserver", "kube-controller-manager"];
/** The same for a cluster with a node. */
export const wholeCluster: readonly string[] = [...controlPlane, "kube-scheduler", "kubelet"];

/**
 * Returns the folder with the programs: LICTOR_TEST_KUBERNETES_BIN, or `.cache`, where they are built if they are missing. That
 * takes up to an hour. Throws an error that says what is missing.
 */
export async function findPrograms(programs: readonly string[]): Promise<string> {
  if (!(await isInstalled("etcd"))) throw new Error("etcd is not installed (Debian: apt-get install etcd-server).");
  const given = process.env.LICTOR_TEST_KUBERNETES_BIN;
  const folder = folderOfPrograms();
  const missing = missingOf(programs);
  if (missing.length === 0) return folder;
  if (given !== undefined)
    throw new Error(`LICTOR_TEST_KUBERNETES_BIN is ${given}, which has no ${missing.join(" and no ")}.`);
  if (!(await isInstalled("go"))) {
    throw new Error(
      `Kubernetes cannot be built without Go. Install it, or set LICTOR_TEST_KUBERNETES_BIN to a folder with ${programs.join(", ")}.`,
    );
  }
  await build(folder, missing);
  return folder;
}

/** Finds out why no control plane can be started at once, without a build; undefined if one can. */
export async function whyNoControlPlane(): Promise<string | undefined> {
  if (process.platform !== "linux") return "the nodes of the tests need Linux";
  if (!(await isInstalled("etcd"))) return "etcd is not installed (Debian: apt-get install etcd-server)";
  const missing = missingOf(controlPlane);
  return missing.length === 0
    ? undefined
    : `there is no ${missing.join(" and no ")} (npm run test:kubernetes builds it)`;
}

/** Finds out why `findPrograms` would throw; undefined if it would not. */
export async function whyNoPrograms(programs: readonly string[]): Promise<string | undefined> {
  const missing = missingOf(programs);
  if (missing.length === 0) return undefined;
  if (process.env.LICTOR_TEST_KUBERNETES_BIN !== undefined)
    return `LICTOR_TEST_KUBERNETES_BIN has no ${missing.join(" and no ")}`;
  return (await isInstalled("go")) ? undefined : `there is no ${missing.join(" and no ")}, and no Go to build it with`;
}

function missingOf(programs: readonly string[]): string[] {
  return programs.filter((name) => !existsSync(join(folderOfPrograms(), name)));
}

function folderOfPrograms(): string {
  return process.env.LICTOR_TEST_KUBERNETES_BIN ?? inCheckout(`.cache/kubernetes-${kubernetesVersion}`);
}

async function build(folder: string, programs: readonly string[]): Promise<void> {
  const source = join(folder, "source");
  await mkdir(source, { recursive: true });
  const go = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, GOFLAGS: "-mod=mod", CGO_ENABLED: "0" };
    const { code, stdout, stderr } = await runCommand("go", args, { cwd: source, env });
    if (code !== 0) throw new Error(`go ${args[0]} failed: ${stderr.trim().split("\n").slice(-5).join("\n")}`);
    return stdout;
  };
  const module = JSON.parse(await go("mod", "download", "-json", `k8s.io/kubernetes@v${kubernetesVersion}`)) as {
    Dir: string;
  };
  await writeFile(join(source, "go.mod"), toOwnModule(await readFile(join(module.Dir, "go.mod"), "utf8")));
  await copyFile(join(module.Dir, "go.sum"), join(source, "go.sum"));
  const version = `-X k8s.io/component-base/version.gitVersion=v${kubernetesVersion}`;
  for (const program of programs) {
    console.error(`Building ${program} ${kubernetesVersion} ...`);
    const unfinished = join(folder, `${program}.unfinished`);
    await go(
      "build",
      "-trimpath",
      "-ldflags",
      `-s -w ${version}`,
      "-o",
      unfinished,
      `k8s.io/kubernetes/cmd/${program}`,
    );
    await rename(unfinished, join(folder, program));
  }
}

/** The module of Kubernetes takes its libraries from folders beside it. Here they are modules of the same release. */
function toOwnModule(goMod: string): string {
  const libraries = `v0.${kubernetesVersion.slice("1.".length)}`;
  const own = goMod
    .replace(/^\/\/.*$/gm, "")
    .replace(/^module .*$/m, "module lictor.test/kubernetes")
    .replace(/(k8s\.io\/[A-Za-z0-9.-]+) => \.\/staging\/src\/.*$/gm, `$1 => $1 ${libraries}`);
  return `${own}\nrequire k8s.io/kubernetes v${kubernetesVersion}\n`;
}
