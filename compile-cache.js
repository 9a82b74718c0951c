// Compiles the files of dist/ for Node.js 20, which cannot keep compiled code itself. Run by esbuild.config.js.
// Some commands are run, and then the functions that they have used are in the cache.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";

/** The first command that loads a file decides what is compiled of it. */
const commands = ["worker start --pool p", "config view", "version", "worker status", "complete -- w", "--help"];
/** A worker opens its sockets after the first poll. */
const workerMs = 500;

const pool = {
  id: "00000000-0000-4000-8000-000000000001",
  name: "p",
  type: "process",
  base_job_template: { job_configuration: {}, variables: {} },
  is_paused: false,
  concurrency_limit: null,
  status: "READY",
};

if (process.argv.length === 2) await compileAll();
else compileOne();

/** Runs each command in a process of its own, beside a server that has no flow runs. */
async function compileAll() {
  const home = await mkdtemp(join(tmpdir(), "lictor-build-"));
  let onPoll = () => {};
  const server = http.createServer((request, response) => {
    const { method, url } = request;
    if (url.endsWith("/get_scheduled_flow_runs")) onPoll();
    request.resume();
    response.writeHead(url.includes("csrf-token") ? 404 : 200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(method === "GET" && url === "/api/work_pools/p" ? pool : []));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const env = {
    HOME: home,
    PREFECT_LOGGING_LEVEL: "CRITICAL",
    PREFECT_API_URL: `http://127.0.0.1:${server.address().port}/api`,
  };
  try {
    for (const command of commands) {
      const args = [fileURLToPath(import.meta.url), ...command.split(" ")];
      const child = spawn(process.execPath, args, { cwd: home, env, stdio: ["ignore", "ignore", "inherit"] });
      onPoll = () => setTimeout(() => child.kill(), workerMs);
      const [code] = await once(child, "exit");
      if (code !== 0) throw new Error(`lictor ${command}: exit ${code}`);
    }
  } finally {
    server.close();
    server.closeAllConnections();
    await rm(home, { recursive: true });
  }
}

/** Runs the command line of this process. At its end, writes the caches that are missing. */
function compileOne() {
  const { load, modules, cacheFile, directory } = createRequire(import.meta.url)("./bin/cached-modules.js");
  // V8 forgets the code of functions that were not called for a while.
  setFlagsFromString("--no-flush-bytecode");
  process.once("exit", () => {
    // A cache is used with the flags of its creation only.
    setFlagsFromString("--flush-bytecode");
    for (const [name, { script }] of modules) {
      // The flag that a worker sets when these two files are loaded, and before it loads others.
      const isFirst = name === "lictor.cjs" || name.endsWith("-actions.cjs");
      setFlagsFromString(`--semi-space-growth-factor=${isFirst ? 2 : 1}`);
      const file = join(directory, cacheFile(name));
      mkdirSync(dirname(file), { recursive: true });
      try {
        writeFileSync(file, script.createCachedData(), { flag: "wx" });
      } catch (error) {
        if (error.code !== "EEXIST") throw error;
      }
    }
  });
  load("lictor.cjs");
}
