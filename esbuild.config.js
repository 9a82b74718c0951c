// Bundles src/ into the file that bin/lictor.js starts, and into separate files for rarely used parts.
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { build } from "esbuild";

/** These parts are loaded by dynamic imports. They share no code with the rest. */
const loadedOnUse = {
  "proxy-agent": "src/api/proxy-agent.ts",
  "metrics-server": "src/status/metrics-server.ts",
  "systemd-notifier": "src/host/systemd-notifier.ts",
  transliterate: "src/run/transliterate.ts",
};

/** Keeps these dynamic imports out of the bundle. */
const apart = {
  name: "apart",
  setup({ onResolve }) {
    onResolve({ filter: /\.ts$/ }, ({ kind, path }) => {
      const name = basename(path, ".ts");
      return kind === "dynamic-import" && name in loadedOnUse ? { path: `./${name}.js`, external: true } : undefined;
    });
  },
};

await build({
  entryPoints: { lictor: "src/cli/main.ts", ...loadedOnUse },
  outdir: "dist",
  plugins: [apart],
  bundle: true,
  platform: "node",
  target: "node20.19",
  format: "esm",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  alias: {
    // The proxy agents would print Authorization headers with DEBUG=*.
    debug: "./src/api/no-debug.ts",
    "thread-stream": "./src/no-threads.ts",
    worker_threads: "./src/no-threads.ts",
  },
  // The packages inside are CommonJS and call require() for Node's own modules.
  banner: {
    js: 'import{createRequire as lictorRequire}from"node:module";const require=lictorRequire(import.meta.url);',
  },
});

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
