// The short form of `npm run chaos`.
import { expect, test } from "vitest";
import { endAsNotApplicable } from "../support/prefect-release.ts";
import { faultKindsOf } from "./plan.ts";
import { formatReport, isFlawless } from "./report.ts";
import { runChaos } from "./run-chaos.ts";

// A restart of the server takes too long for a short test.
const kinds = faultKindsOf("process").filter((kind) => kind !== "server-restart");

// The plan takes 24 s; the rest is for a busy machine.
const timeoutMs = 480_000;

test("each flow run is executed once and ends truthfully, whatever happens", { timeout: timeoutMs }, async () => {
  if (process.platform !== "linux") return endAsNotApplicable("processes are found in /proc");
  const options = {
    poolType: "process" as const,
    seed: 11,
    minutes: 0.4,
    runs: 20,
    faults: 18,
    kinds,
    settleSeconds: 120,
  };
  const result = await runChaos(options, console.log, AbortSignal.timeout(timeoutMs - 60_000));
  expect(isFlawless(result), formatReport(result)).toBe(true);
});
