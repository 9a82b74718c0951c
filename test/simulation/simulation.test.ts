// A short form of `npm run simulate`.
import { expect, test } from "vitest";
import { runSeeds } from "./seeds.ts";

test("with seeded faults, every flow run is executed once, ends truthfully, and leaves nothing behind", async () => {
  const { failed, faults, seeds } = await runSeeds(1, 150);
  expect(failed).toEqual([]);
  expect(faults).toBeGreaterThan(seeds);
});

test.each([
  ["processes", 8],
  ["containers", 9],
  ["Jobs", 7],
])("a seed gives the same world each time, with %s", async (_, seed) => {
  const traceOf = async (): Promise<string[]> => {
    const lines: string[] = [];
    // The names of Jobs are made of transition ids.
    const drawn = /"transition_id":"[^"]*"?|\bjob-[0-9a-f]{10}/g;
    await runSeeds(seed, seed, (line) => lines.push(line.replace(drawn, "")));
    return lines;
  };
  const first = await traceOf();
  expect(first.length).toBeGreaterThan(50);
  expect(await traceOf()).toEqual(first);
});
