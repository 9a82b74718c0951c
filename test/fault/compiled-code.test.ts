// The compiled code in dist/cache, which Node.js 20 uses. V8 refuses it silently, for example if a flag of V8 is another one.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { inCheckout } from "../support/checkout.ts";
import { LICTOR } from "../support/lictor.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const [node, bin = ""] = LICTOR;
const preload = inCheckout("test/fixtures/programs/print-refused-code.cjs");

test("a worker uses the compiled code of all that it loads", async ({ skip }) => {
  const { stdout: version } = await promisify(execFile)(node, ["--version"]);
  skip(
    version.trim() !== process.version || !version.startsWith("v20."),
    "the build compiles for its own Node.js 20 only",
  );
  await using server = await startPoolServer();
  await using worker = await startPoolWorker(server, {}, [], [node, "--require", preload, bin]);
  await worker.waitForOutput(/No connection to the events stream/, 20_000);
  worker.signal("SIGTERM");
  await worker.exited;
  expect(worker.stderr).toContain("loaded: 3, compiled anew: []");
});
