// Builds src/ into the one file that bin/lictor.js starts.
import { build } from "esbuild";

await build({
  entryPoints: ["src/cli/main.ts"],
  outfile: "dist/lictor.js",
  bundle: true,
  platform: "node",
  target: "node20.19",
  format: "esm",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  // The packages inside are CommonJS and call require() for Node's own modules.
  banner: {
    js: 'import{createRequire as lictorRequire}from"node:module";const require=lictorRequire(import.meta.url);',
  },
});
