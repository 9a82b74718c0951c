#!/usr/bin/env node
// Starts lictor with the cache of compiled code that this Node.js can use. CommonJS, because it starts faster.
if (process.argv.length === 3 && ["-v", "--version"].includes(process.argv[2])) {
  process.stdout.write(`${require("../package.json").version}\n`);
} else if (process.versions.node.startsWith("20.")) {
  require("./cached-modules.js").load("lictor.cjs");
} else {
  const { join } = require("node:path");
  // Later releases fill the cache themselves. A cache in the directory of temporary files could be another user's.
  require("node:module").enableCompileCache?.(join(homeDirectory(), ".cache", "lictor"));
  require("../dist/lictor.cjs");
}

/** Returns the user's home directory. If there is none, returns a path at which no cache can be written. */
function homeDirectory() {
  try {
    return require("node:os").homedir();
  } catch {
    return "/dev/null";
  }
}
