// Bundles src/ into dist/: what bin/lictor.js starts, the parts that are loaded on use, and the module for TypeScript flows.
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { thirdPartyNotices } from "./third-party-notices.js";

const require = createRequire(import.meta.url);

/** These parts are loaded by dynamic imports. No two parts share code: an object's class in one is not that in another. */
const partsOnUse = {
  "worker-start-actions": "src/cli/worker-start-actions.ts",
  "worker-control-actions": "src/cli/worker-control-actions.ts",
  "operator-actions": "src/cli/operator-actions.ts",
  "version-actions": "src/cli/version-actions.ts",
  "config-actions": "src/cli/config-actions.ts",
  "profile-actions": "src/cli/profile-actions.ts",
  "cloud-actions": "src/cli/cloud-actions.ts",
  "completion-actions": "src/cli/completion-actions.ts",
  "deploy-actions": "src/cli/deploy-actions.ts",
  "run-actions": "src/cli/run-actions.ts",
  "doctor-actions": "src/cli/doctor-actions.ts",
  "proxy-agent": "src/api/proxy-agent.ts",
  "secure-agent": "src/api/secure-agent.ts",
  "web-socket": "src/sockets/web-socket.ts",
  "docker-infrastructure": "src/infrastructure/docker/docker-infrastructure.ts",
  "kubernetes-infrastructure": "src/infrastructure/kubernetes/kubernetes-infrastructure.ts",
  "parse-yaml": "src/infrastructure/kubernetes/cluster/parse-yaml.ts",
  "metrics-server": "src/status/metrics-server.ts",
  "systemd-notifier": "src/host/systemd-notifier.ts",
  transliterate: "src/job/transliterate.ts",
};

/** Keeps these dynamic imports out of the bundles. */
const apart = {
  name: "apart",
  setup({ onResolve }) {
    onResolve({ filter: /\.ts$/ }, ({ kind, path }) => {
      const name = basename(path, ".ts");
      return kind === "dynamic-import" && name in partsOnUse ? { path: `./${name}.cjs`, external: true } : undefined;
    });
  },
};

/** These modules of Node.js are loaded when a function of theirs is first called. Until the first poll, few are. */
const nodeModulesOnUse = [
  "assert",
  "child_process",
  "crypto",
  "dns",
  "dns/promises",
  "https",
  "readline",
  "tls",
  "zlib",
];

/** Replaces them by modules that load them. */
const onUse = {
  name: "on-use",
  setup({ onResolve, onLoad }) {
    const filter = new RegExp(`^(node:)?(${nodeModulesOnUse.join("|")})$`);
    onResolve({ filter }, ({ path, namespace }) =>
      namespace === "on-use" ? { path, external: true } : { path: path.replace("node:", ""), namespace: "on-use" },
    );
    onLoad({ filter: /./, namespace: "on-use" }, ({ path }) => ({
      contents: `let loaded;
        for (const name of ${JSON.stringify(Object.keys(require(path)))})
          Object.defineProperty(exports, name, { enumerable: true, get: () => (loaded ??= require("node:${path}"))[name] });`,
    }));
  },
};

await rm("dist", { recursive: true, force: true });
await mkdir("dist");
const { metafile } = await build({
  entryPoints: { lictor: "src/cli/main.ts", ...partsOnUse },
  outdir: "dist",
  outExtension: { ".js": ".cjs" },
  plugins: [apart, onUse],
  bundle: true,
  platform: "node",
  target: "node20.19",
  // Node.js 20 has a cache of compiled code for CommonJS only.
  format: "cjs",
  supported: { "dynamic-import": false },
  define: { "import.meta.dirname": "__dirname" },
  minifySyntax: true,
  minifyWhitespace: true,
  // THIRD-PARTY-NOTICES.txt has them.
  legalComments: "none",
  metafile: true,
  // Read with `node --enable-source-maps` only.
  sourcemap: "linked",
  sourcesContent: false,
  alias: {
    // The proxy agents would print Authorization headers with DEBUG=*.
    debug: "./src/api/no-debug.ts",
    "thread-stream": "./src/no-threads.ts",
    worker_threads: "./src/no-threads.ts",
    module: "./src/no-threads.ts",
  },
});

await writeFile("dist/THIRD-PARTY-NOTICES.txt", await thirdPartyNotices(metafile));

// The types of what `lictor worker status --json` prints.
const typesOnly = ["--ignoreConfig", "--declaration", "--emitDeclarationOnly", "--outDir", "dist/types"];
await promisify(execFile)("node_modules/.bin/tsc", [...typesOnly, "src/status/page/status-json.ts"]);

// The man page comes from the definitions of the commands, so their program is loaded here. No command is run.
const { outputFiles: manPageProgram } = await build({
  entryPoints: ["src/cli/man-page.ts"],
  plugins: [apart],
  bundle: true,
  write: false,
  platform: "node",
  format: "cjs",
});
const manPageModule = { exports: {} };
new Function("module", "require", manPageProgram[0].text)(manPageModule, require);
await writeFile("dist/lictor.1", manPageModule.exports.manPage(require("./package.json").version));

// What `import … from "lictor"` gets. It has no dependency.
await build({
  entryPoints: { flows: "src/flows/index.ts" },
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  target: "node20.19",
  format: "esm",
  legalComments: "none",
});
await promisify(execFile)(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "src/flows"]);
for (const name of await readdir("dist/types/flows")) {
  const file = join("dist/types/flows", name);
  // Declarations name the files that users have.
  await writeFile(file, (await readFile(file, "utf8")).replaceAll(/(from "\.\/[\w-]+)\.ts"/g, '$1.js"'));
}

// The status page is a single file that contains its style and its script.
const { outputFiles } = await build({
  entryPoints: ["src/status/page/status-page.css", "src/status/page/status-page.ts"],
  outdir: "dist",
  bundle: true,
  write: false,
  format: "esm",
  target: "es2022",
  minify: true,
});
const [style, script] = [".css", ".js"].map((end) => outputFiles.find(({ path }) => path.endsWith(end)).text.trim());
const page = await readFile("src/status/page/status-page.html", "utf8");
// The replacement is a function, because `$&` has a meaning in a replacement string.
const filled = page
  .replace("<style></style>", () => `<style>${style}</style>`)
  .replace('<script type="module"></script>', () => `<script type="module">${script}</script>`);
await writeFile("dist/status-page.html", filled);

if (process.versions.node.startsWith("20.")) await import("./compile-cache.js");
