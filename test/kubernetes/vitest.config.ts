import { defineConfig } from "vitest/config";

export default defineConfig({
  // Node 20 has no `using`, so tests are compiled for it like the program is.
  oxc: { target: "node20" },
  test: {
    include: ["test/kubernetes/*.test.ts"],
    testTimeout: 120_000,
    // The cluster may have to be built first.
    hookTimeout: 7_200_000,
    // Each file has a cluster of its own.
    fileParallelism: false,
  },
});
