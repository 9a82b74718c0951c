// `npm run simulate`: runs many seeds of the simulation, or shows what happens with one.
import { type ChildProcess, fork } from "node:child_process";
import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { inCheckout } from "../support/checkout.ts";
import { addSeeds, noSeeds, runSeeds, type SeedsResult } from "./seeds.ts";

/** A process gets so many seeds at a time. */
const seedsPerRange = 100;
/**
 * A process is replaced after so many ranges, because each world leaves about 20 kB behind: the requests of its dead
 * processes listen to signals that live as long as the program.
 */
const rangesPerProcess = 20;
/** A range that takes longer hangs. */
const rangeTimeoutMs = 120_000;
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

/** Bundles the program of the processes into a file, because bundled code runs twice as fast. */
async function bundle(outfile: string): Promise<void> {
  const entryPoints = [inCheckout("test/simulation/simulate-child.ts")];
  const options = { bundle: true, platform: "node", format: "esm", target: "node20", packages: "external" } as const;
  await build({ entryPoints, outfile, ...options });
}

/** Runs seeds in as many processes as there are cores. */
async function simulate({ first, seeds, minutes }: Options): Promise<SeedsResult> {
  const sum = noSeeds();
  // Another run may have other code.
  const program = inCheckout(`.cache/simulation/${process.pid}.mjs`);
  await bundle(program);
  const until = performance.now() + (minutes ?? Number.POSITIVE_INFINITY) * 60_000;
  const end = first + seeds;
  let next = first;
  const hasMore = (): boolean => next < end && performance.now() < until;
  const runProcess = async (): Promise<void> => {
    const child = fork(program, { execArgv: [] });
    try {
      for (let ranges = 0; ranges < rangesPerProcess && hasMore(); ranges++) {
        const range = { first: next, last: Math.min(next + seedsPerRange, end) - 1 };
        next = range.last + 1;
        const result = await runRange(child, range);
        for (const { seed, violations } of result.failed) console.log(`seed ${seed}: ${violations.join("; ")}`);
        addSeeds(sum, result);
      }
    } finally {
      child.kill();
    }
  };
  const work = async (): Promise<void> => {
    while (hasMore()) await runProcess();
  };
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, work));
  } finally {
    await rm(program, { force: true });
  }
  return sum;
}

async function runRange(child: ChildProcess, range: { first: number; last: number }): Promise<SeedsResult> {
  return await new Promise<SeedsResult>((resolve, reject) => {
    const fail = (what: string): void => reject(new Error(`Seeds ${range.first} to ${range.last}: ${what}`));
    const timer = setTimeout(() => fail("no result in time. One of them hangs."), rangeTimeoutMs);
    const onExit = (code: number | null): void => fail(`their process ended with ${code}`);
    child.once("exit", onExit);
    child.once("message", (result) => {
      clearTimeout(timer);
      child.off("exit", onExit);
      resolve(result as SeedsResult);
    });
    child.send(range);
  });
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
