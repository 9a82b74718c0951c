// Builds src/ into the one file that bin/lictor.js starts, and the proxy agent beside it, which few ever need.
import { build } from "esbuild";

/** Leaves the import of the proxy agent to the moment a proxy is used; it shares no code with the rest. */
const proxyAgentApart = {
  name: "proxy-agent-apart",
  setup({ onResolve }) {
    onResolve({ filter: /\/proxy-agent\.ts$/ }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./proxy-agent.js", external: true } : undefined,
    );
  },
};

await build({
  entryPoints: [
    { in: "src/cli/main.ts", out: "lictor" },
    { in: "src/api/proxy-agent.ts", out: "proxy-agent" },
  ],
  outdir: "dist",
  plugins: [proxyAgentApart],
  bundle: true,
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
