// Builds src/ into the file that bin/lictor.js starts, and further ones that it imports, some of them only when needed.
import { readdir, rm } from "node:fs/promises";
import { build } from "esbuild";

const { metafile } = await build({
  entryPoints: [{ in: "src/cli/main.ts", out: "lictor" }],
  outdir: "dist",
  metafile: true,
  bundle: true,
  splitting: true,
  platform: "node",
  target: "node20.19",
  format: "esm",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  // The proxy agents would print Authorization headers with DEBUG=*.
  alias: { debug: "./src/api/no-debug.ts" },
  // The packages inside are CommonJS and call require() for Node's own modules.
  banner: {
    js: 'import{createRequire as lictorRequire}from"node:module";const require=lictorRequire(import.meta.url);',
  },
});

// Those of earlier builds have other names.
for (const file of await readdir("dist")) if (!(`dist/${file}` in metafile.outputs)) await rm(`dist/${file}`);
