// `npm run chaos`: lictor against a real server, with real engines, under random faults.
import { parseArgs } from "node:util";
import { runScript } from "../support/run-script.ts";
import { type FaultKind, faultKinds } from "./plan.ts";
import { formatReport, isFlawless } from "./report.ts";
import { type ChaosOptions, runChaos } from "./run-chaos.ts";

const allKinds = Object.keys(faultKinds) as FaultKind[];

/** Reads the command line. Throws with what is wrong with it. */
function readOptions(): ChaosOptions {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: `${Math.floor(Math.random() * 1e9)}` },
      minutes: { type: "string", default: "15" },
      runs: { type: "string", default: "500" },
      faults: { type: "string", default: "200" },
      only: { type: "string", default: allKinds.join(",") },
      settle: { type: "string", default: "480" },
    },
  });
  const read = (name: "seed" | "minutes" | "runs" | "faults" | "settle"): number => {
    const value = Number(values[name]);
    if (!(value >= 0)) throw new Error(`--${name} must be a number of at least 0.`);
    return value;
  };
  const kinds = values.only.split(",") as FaultKind[];
  const unknown = kinds.filter((kind) => !allKinds.includes(kind));
  if (unknown.length > 0) throw new Error(`--only ${unknown.join(",")}: known are ${allKinds.join(", ")}.`);
  const [seed, minutes, settleSeconds] = [read("seed"), read("minutes"), read("settle")];
  return { seed, minutes, runs: read("runs"), faults: read("faults"), kinds, settleSeconds };
}

async function chaos(stop: AbortSignal): Promise<void> {
  if (process.platform !== "linux") throw new Error("It runs on Linux only, because it finds processes in /proc.");
  const options = readOptions();
  const { seed, minutes, runs, faults } = options;
  say(`${runs} flow runs and ${faults} faults in ${minutes} minutes, with seed ${seed}`);
  const result = await runChaos(options, say, stop);
  console.log(`\n${formatReport(result)}`);
  if (!isFlawless(result)) process.exitCode = 1;
}

function say(line: string): void {
  console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
}

await runScript("The chaos run broke off", chaos);
