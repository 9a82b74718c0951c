import { defineConfig } from "vitest/config";
import { whyNoWholeCluster } from "../support/whole-cluster.ts";

const missing = await whyNoWholeCluster();
if (missing) console.log(`The tests with a whole cluster are skipped: ${missing}.`);

export default defineConfig({
  // Node 20 has no `using`, so tests are compiled for it like the program is.
  oxc: { target: "node20" },
  test: {
    include: ["test/kubernetes/*.test.ts"],
    // Only flow runs in real pods need a Prefect server.
    globalSetup: missing ? [] : ["test/support/global-setup.ts"],
    testTimeout: 120_000,
    // The cluster may have to be built first.
    hookTimeout: 7_200_000,
    // Each file has a cluster of its own.
    fileParallelism: false,
  },
});
