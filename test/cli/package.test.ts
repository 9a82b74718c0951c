// The package as npm installs it: in an empty folder, without a network and without the checkout.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import { inCheckout } from "../support/checkout.ts";
import { LICTOR, runLictor } from "../support/lictor.ts";
import { runCommand } from "../support/run-command.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

const engineTimeoutMs = 90_000;

interface InstalledPackage extends AsyncDisposable {
  /** The folder that npm has installed into. */
  path: string;
  /** The command line of the installed lictor. */
  command: readonly [string, ...string[]];
  tarball: string;
}

async function npm(args: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await runCommand("npm", args, { cwd });
  if (code !== 0) throw new Error(`npm ${args.join(" ")}: exit ${code}\n${stderr}`);
  return stdout;
}

/** Packs the built checkout and installs the tarball. */
async function installPackage(): Promise<InstalledPackage> {
  const folder = await makeTemporaryDirectory("lictor-package-");
  // Without scripts, because other tests use dist/ at the same time.
  const pack = ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder.path];
  const tarball = (await npm(pack, inCheckout("."))).trim();
  await npm(["install", "--offline", "--no-audit", "--no-fund", join(folder.path, tarball)], folder.path);
  const bin = join(folder.path, "node_modules/lictor/bin/lictor.js");
  return Object.assign(folder, { command: [LICTOR[0], bin] as const, tarball: join(folder.path, tarball) });
}

test("an installation brings one package, and it works", async () => {
  await using installed = await installPackage();
  const { path, command } = installed;
  expect((await readdir(join(path, "node_modules"))).filter((name) => !name.startsWith("."))).toEqual(["lictor"]);

  const { version } = JSON.parse(await readFile(inCheckout("package.json"), "utf8")) as { version: string };
  const linked = join(path, "node_modules/.bin/lictor");
  expect((await runCommand(linked, ["--version"])).stdout).toBe(`${version}\n`);
  await writeFile(
    join(path, "use.ts"),
    'import type { Status } from "lictor/status";\nexport const pid = (status: Status): number => status.host.pid;\n',
  );
  const typed = await runCommand(inCheckout("node_modules/.bin/tsc"), ["--noEmit", "--module", "nodenext", "use.ts"], {
    cwd: path,
  });
  expect(typed).toMatchObject({ code: 0, stdout: "" });
  const apiUrl = inject("apiUrl");
  const view = await runLictor(["config", "view"], { command, env: { PREFECT_API_URL: apiUrl } });
  expect(view.stdout).toContain(`PREFECT_API_URL='${apiUrl}' (from env)`);

  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  await using _worker = await startWorker(pool, { apiUrl, command, cwd: path });
  const { id } = await api.createFlowRun(deployment);
  await api.waitForState(id, ["COMPLETED"], engineTimeoutMs);
});

test("a global installation has the program and its man page", async () => {
  await using installed = await installPackage();
  const prefix = join(installed.path, "global");
  await mkdir(prefix);
  await npm(
    ["install", "--global", "--offline", "--no-audit", "--no-fund", "--prefix", prefix, installed.tarball],
    prefix,
  );
  expect((await runCommand(join(prefix, "bin/lictor"), ["--help"])).code).toBe(0);
  expect(await readFile(join(prefix, "share/man/man1/lictor.1"), "utf8")).toMatch(/^\.TH LICTOR 1 /);
});

test("the package has the program, its types, source maps and notices, and nothing else", async () => {
  const [{ files }] = JSON.parse(await npm(["pack", "--ignore-scripts", "--json", "--dry-run"], inCheckout("."))) as [
    { files: { path: string }[] },
  ];
  const expected = [
    /^(package\.json|README\.md|LICENSE)$/,
    /^bin\//,
    /^dist\/[\w-]+\.cjs(\.map)?$/,
    /^dist\/cache\//,
    /^dist\/(flows\.mjs|status-page\.html|lictor\.1|THIRD-PARTY-NOTICES\.txt)$/,
    /^dist\/types\/.*\.d\.ts$/,
  ];
  const paths = files.map(({ path }) => path);
  expect(paths.filter((path) => !expected.some((pattern) => pattern.test(path)))).toEqual([]);
  expect(paths).toContain("dist/types/status-json.d.ts");
});

test("the notices have the licence of each package that is in the program", async () => {
  const notices = await readFile(inCheckout("dist/THIRD-PARTY-NOTICES.txt"), "utf8");
  const sources = await Promise.all(
    (await readdir(inCheckout("dist")))
      .filter((name) => name.endsWith(".cjs.map"))
      .map(
        async (name) =>
          (JSON.parse(await readFile(inCheckout(`dist/${name}`), "utf8")) as { sources: string[] }).sources,
      ),
  );
  const names = new Set(sources.flat().map((source) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1]));
  names.delete(undefined);
  expect(names.size).toBeGreaterThan(10);
  const missing = [...names].filter((name) => !new RegExp(`^${name} \\d+\\.\\S+ \\(\\S+\\)$`, "m").test(notices));
  expect(missing).toEqual([]);
  expect(notices.match(/permission/gi)?.length).toBeGreaterThanOrEqual(names.size);
});
