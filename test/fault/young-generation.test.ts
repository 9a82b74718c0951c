// The part of a worker's memory that V8 fills with garbage.
import { expect, test } from "vitest";
import { inCheckout } from "../support/checkout.ts";
import { LICTOR, type ProgramOptions } from "../support/lictor.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const [node, bin = ""] = LICTOR;
const preload = inCheckout("test/fixtures/programs/print-young-generation.cjs");

/** Starts a worker that makes much garbage when it ends. Returns the size of its young generation in MiB. */
async function youngGenerationOf(command: ProgramOptions["command"]): Promise<number> {
  await using server = await startPoolServer();
  await using worker = await startPoolWorker(server, {}, [], command);
  await worker.waitForOutput(/Worker 'w' started!/, 20_000);
  worker.signal("SIGTERM");
  await worker.exited;
  return Number(/^young generation: (.*) MiB$/m.exec(worker.stderr)?.[1]);
}

test("the young generation of a worker stays small, however much garbage there is", async () => {
  expect(await youngGenerationOf([node, "--require", preload, bin])).toBeLessThanOrEqual(8);
});
