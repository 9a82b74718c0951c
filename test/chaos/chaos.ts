// `npm run chaos`: lictor against a real server, with real engines, under random faults.
import { parseArgs } from "node:util";
import { whyNoEngine } from "../support/docker-engine.ts";
import { controlPlane, findPrograms } from "../support/kubernetes-binaries.ts";
import { runScript } from "../support/run-script.ts";
import { type FaultKind, faultKindsOf, type PoolTypeName, poolTypes } from "./plan.ts";
import { formatReport, isFlawless } from "./report.ts";
import { type ChaosOptions, runChaos } from "./run-chaos.ts";

/** Reads the command line. Throws with what is wrong with it. */
function readOptions(): ChaosOptions {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: `${Math.floor(Math.random() * 1e9)}` },
      minutes: { type: "string", default: "15" },
      runs: { type: "string", default: "500" },
      faults: { type: "string", default: "200" },
      only: { type: "string" },
      "pool-type": { type: "string", default: "process" },
      settle: { type: "string", default: "480" },
    },
  });
  const read = (name: "seed" | "minutes" | "runs" | "faults" | "settle"): number => {
    const value = Number(values[name]);
    if (!(value >= 0)) throw new Error(`--${name} must be a number of at least 0.`);
    return value;
  };
  const poolType = values["pool-type"] as PoolTypeName;
  if (!poolTypes.includes(poolType)) throw new Error(`--pool-type ${poolType}: known are ${poolTypes.join(", ")}.`);
  const allKinds = faultKindsOf(poolType);
  const kinds = (values.only?.split(",") as FaultKind[] | undefined) ?? allKinds;
  const unknown = kinds.filter((kind) => !allKinds.includes(kind));
  if (unknown.length > 0) throw new Error(`--only ${unknown.join(",")}: known are ${allKinds.join(", ")}.`);
  const [seed, minutes, settleSeconds] = [read("seed"), read("minutes"), read("settle")];
  return { seed, minutes, runs: read("runs"), faults: read("faults"), kinds, settleSeconds, poolType };
}

async function chaos(stop: AbortSignal): Promise<void> {
  if (process.platform !== "linux") throw new Error("It runs on Linux only, because it finds processes in /proc.");
  const options = readOptions();
  const noEngine = options.poolType === "docker" ? await whyNoEngine() : undefined;
  if (noEngine !== undefined) throw new Error(`There is no container engine for --pool-type docker: ${noEngine}.`);
  // It may have to be built.
  if (options.poolType === "kubernetes") await findPrograms(controlPlane);
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
