// `npm run simulate`: runs many seeds of the simulation, or shows what happens with one.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { addSeeds, noSeeds, runSeeds, type SeedsResult } from "./seeds.ts";
import { SeedsProcess } from "./seeds-process.ts";

/** A process gets so many seeds at a time. */
const seedsPerRange = 100;
const defaultSeeds = 10_000;

interface Options {
  readonly seed: number | undefined;
  readonly first: number;
  readonly seeds: number;
  readonly minutes: number | undefined;
}

function readOptions(): Options {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { seed: text, first: text, seeds: text, minutes: text } });
  const read = (name: keyof typeof values, least = 1): number | undefined => {
    const value = values[name];
    if (value === undefined) return undefined;
    if (!(Number(value) >= least)) throw new Error(`--${name} must be a number of at least ${least}.`);
    return Number(value);
  };
  const minutes = read("minutes");
  const unlimited = minutes === undefined ? defaultSeeds : Number.POSITIVE_INFINITY;
  return { seed: read("seed", 0), first: read("first", 0) ?? 0, seeds: read("seeds") ?? unlimited, minutes };
}

/** Shows the trace of one seed, and what it violates. */
async function replay(seed: number): Promise<SeedsResult> {
  return await runSeeds(seed, seed, (line) => console.log(line));
}

/** Runs seeds in as many processes as there are cores. */
async function simulate({ first, seeds, minutes }: Options): Promise<SeedsResult> {
  const sum = noSeeds();
  const until = performance.now() + (minutes ?? Number.POSITIVE_INFINITY) * 60_000;
  const end = first + seeds;
  let next = first;
  const work = async (): Promise<void> => {
    await using child = await SeedsProcess.start();
    while (next < end && performance.now() < until) {
      const range = { first: next, last: Math.min(next + seedsPerRange, end) - 1 };
      next = range.last + 1;
      const result = await child.run(range);
      for (const { seed, violations } of result.failed) console.log(`seed ${seed}: ${violations.join("; ")}`);
      addSeeds(sum, result);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return sum;
}

const options = readOptions();
const startedAt = performance.now();
const result = await (options.seed === undefined ? simulate(options) : replay(options.seed));
const minutes = (performance.now() - startedAt) / 60_000;
const { seeds, failed, faults, requests, virtualMs } = result;
for (const { violations } of options.seed === undefined ? [] : failed) for (const each of violations) console.log(each);
const perMinute = Math.round(seeds / minutes).toLocaleString("en");
const days = (virtualMs / 86_400_000).toFixed(1);
console.log(
  `${seeds} seeds, ${perMinute} per minute: ${days} simulated days, ${requests} requests, ${faults} faults, ${failed.length} violated.`,
);
if (failed.length > 0) {
  if (options.seed === undefined) console.log("`npm run simulate -- --seed N` shows what happens with a seed.");
  process.exitCode = 1;
}
