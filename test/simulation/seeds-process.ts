// A process of its own that runs seeds, with light signals.
import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { build } from "esbuild";
import { inCheckout } from "../support/checkout.ts";
import type { SeedsResult } from "./seeds.ts";

/** The first and the last of some seeds. */
export interface SeedRange {
  readonly first: number;
  readonly last: number;
}

/** A seed leaves much garbage, which costs less in a large young generation. */
const youngGeneration = ["--max-semi-space-size=64", "--min-semi-space-size=32"];

/** A range that takes longer hangs. */
const rangeTimeoutMs = 120_000;

/** A process that runs one range of seeds after the other. */
export class SeedsProcess implements AsyncDisposable {
  private constructor(
    private readonly child: ChildProcess,
    private readonly program: string,
  ) {}

  /** Starts a process. */
  static async start(): Promise<SeedsProcess> {
    // Another run may have other code.
    const program = inCheckout(`.cache/simulation/${randomUUID()}.mjs`);
    await bundle(program);
    return new SeedsProcess(fork(program, { execArgv: youngGeneration }), program);
  }

  /** Runs the seeds of a range. Rejects if the process ends or hangs. */
  async run({ first, last }: SeedRange): Promise<SeedsResult> {
    return await new Promise<SeedsResult>((resolve, reject) => {
      const fail = (what: string): void => {
        clearTimeout(timer);
        reject(new Error(`Seeds ${first} to ${last}: ${what}`));
      };
      const timer = setTimeout(() => fail("no result in time. One of them hangs."), rangeTimeoutMs);
      const onExit = (code: number | null): void => fail(`their process ended with ${code}`);
      this.child.once("exit", onExit);
      this.child.once("message", (result) => {
        clearTimeout(timer);
        this.child.off("exit", onExit);
        resolve(result as SeedsResult);
      });
      this.child.send({ first, last });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill();
    await rm(this.program, { force: true });
  }
}

/** Bundles the program of the process into a file, because bundled code runs twice as fast. */
async function bundle(outfile: string): Promise<void> {
  const entryPoints = [inCheckout("test/simulation/simulate-child.ts")];
  const options = { bundle: true, platform: "node", format: "esm", target: "node20", packages: "external" } as const;
  await build({ entryPoints, outfile, ...options });
}
