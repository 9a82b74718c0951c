// `npm run build:binary`: makes dist/binary/lictor, one executable for this platform with this Node.js inside. Needs dist/.
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";

const run = promisify(execFile);
const directory = "dist/binary";
const executable = join(directory, process.platform === "win32" ? "lictor.exe" : "lictor");
/** Node.js looks for the assets behind this mark. Source: Node.js documentation, "Single executable applications". */
const fuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

await rm(directory, { recursive: true, force: true });
await mkdir(directory);
if (!process.versions.node.startsWith("20.")) await run(process.execPath, ["compile-cache.js"]);

const main = join(directory, "main.cjs");
await build({
  entryPoints: ["bin/single-executable.js"],
  outfile: main,
  bundle: true,
  platform: "node",
  format: "cjs",
});
const cached = (await readdir("dist/cache")).map((name) => `cache/${name}`);
const files = (await readdir("dist")).filter((name) => /\.(cjs|html)$/.test(name));
const assets = Object.fromEntries([...files, ...cached].map((name) => [name, join("dist", name)]));
const blob = join(directory, "lictor.blob");
const config = { main, output: blob, assets, disableExperimentalSEAWarning: true, useCodeCache: true };
await writeFile(join(directory, "config.json"), JSON.stringify(config));
await run(process.execPath, ["--experimental-sea-config", join(directory, "config.json")]);

await copyFile(process.execPath, executable);
await chmod(executable, 0o755);
const isMac = process.platform === "darwin";
if (isMac) await run("codesign", ["--remove-signature", executable]);
const forMac = isMac ? ["--macho-segment-name", "NODE_SEA"] : [];
await run("node_modules/.bin/postject", [executable, "NODE_SEA_BLOB", blob, "--sentinel-fuse", fuse, ...forMac]);
if (isMac) await run("codesign", ["--sign", "-", executable]);
for (const file of [main, blob, join(directory, "config.json")]) await rm(file);
