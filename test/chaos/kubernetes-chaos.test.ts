// The short form of `npm run chaos -- --pool-type kubernetes`.
import { expect, test } from "vitest";
import { whyNoControlPlane } from "../support/kubernetes-binaries.ts";
import { faultKindsOf } from "./plan.ts";
import { formatReport, isFlawless } from "./report.ts";
import { runChaos } from "./run-chaos.ts";

const missing = await whyNoControlPlane();

// These take too long for a short test.
const tooLong = ["server-restart", "api-restart"];
const kinds = faultKindsOf("kubernetes").filter((kind) => !tooLong.includes(kind));

// The plan takes 24 s; the rest is for a busy machine.
const timeoutMs = 480_000;

test.skipIf(missing)(
  "each Job is executed once and ends truthfully, whatever happens",
  { timeout: timeoutMs },
  async () => {
    const options = {
      poolType: "kubernetes" as const,
      ...{ seed: 11, minutes: 0.4, runs: 20, faults: 20 },
      kinds,
      settleSeconds: 120,
    };
    const result = await runChaos(options, console.log, AbortSignal.timeout(timeoutMs - 60_000));
    expect(isFlawless(result), formatReport(result)).toBe(true);
  },
);
