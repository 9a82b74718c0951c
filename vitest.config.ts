import { defineConfig } from "vitest/config";
import { CheapFirst } from "./test/support/cheap-first.ts";

export default defineConfig({
  // Node 20 has no `using`, so tests are compiled for it like the program is.
  oxc: { target: "node20" },
  test: {
    include: ["test/**/*.test.ts"],
    // They need a Kubernetes, see CONTRIBUTING.md.
    exclude: ["**/node_modules/**", "test/kubernetes/**"],
    globalSetup: ["test/support/global-setup.ts"],
    // Longer than any sum of waits in a test: one that vitest ends itself says less, and leaves its processes behind.
    testTimeout: process.env.CI ? 400_000 : 180_000,
    hookTimeout: process.env.CI ? 400_000 : 180_000,
    teardownTimeout: 30_000,
    // Most tests wait most of their time.
    maxWorkers: 5,
    maxConcurrency: 3,
    sequence: { sequencer: CheapFirst },
    reporters: ["default", "./test/support/tally-reporter.ts"],
  },
});
