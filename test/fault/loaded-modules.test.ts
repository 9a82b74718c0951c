// What a worker keeps in memory without using it.
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { inCheckout } from "../support/checkout.ts";
import { LICTOR } from "../support/lictor.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

// Later releases of Node.js load both themselves.
test.runIf(process.version.startsWith("v20."))(
  "a worker loads no threads and no performance measurements",
  async () => {
    const [node, bin = ""] = LICTOR;
    const preload = inCheckout("test/fixtures/programs/print-loaded-modules.cjs");
    await using server = await startPoolServer();
    await using worker = await startPoolWorker(server, {}, [], [node, "--require", preload, bin]);
    await waitFor(() => pollTimes(server).length >= 3, { timeoutMs: 20_000, intervalMs: 20, what: "polls" });
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const loaded = /^loaded: (.*)$/m.exec(worker.stdout)?.[1]?.split(" ");
    expect(loaded).toContain("https");
    expect(loaded?.filter((name) => name === "worker_threads" || name === "perf_hooks")).toEqual([]);
  },
);

test("no part of the bundle imports node:tls statically, because that reads all root certificates", async () => {
  const bundle = await readFile(inCheckout("dist/lictor.js"), "utf8");
  expect(/from ?"node:tls"/.test(bundle)).toBe(false);
});
