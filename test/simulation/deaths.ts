// How lictor processes die in a seed: alone, with their container, with the power of their machine, or with its disk.
import { pick } from "../support/random.ts";
import { deaths } from "./faults.ts";
import { stopEngine } from "./incidents.ts";
import type { LictorProcess } from "./lictor-process.ts";
import { lose, loseUnwritten } from "./lost-records.ts";
import type { Machine } from "./machine.ts";
import { startLictor } from "./supervisor.ts";
import type { Owner } from "./virtual-clock.ts";
import type { World } from "./world.ts";

/** At each step, a lictor process may die, alone or with everything around it. */
export function mayDie(world: World, owner: Owner): void {
  const { faults, lictors } = world;
  if (!owner.alive || !faults.active) return;
  const lictor = lictors.find((each) => each.owner === owner);
  const death = deaths.find((kind) => faults.happens(kind));
  if (!lictor || !death) return;
  const { machine } = lictor;
  const dying = death === "worker killed" ? [lictor] : world.running().filter((each) => each.machine === machine);
  for (const each of dying) kill(world, each);
  if (death === "worker killed") return;
  machine.killAll(death);
  if (death === "power lost") losePower(world, machine);
  if (death === "machine lost" || (death === "container killed" && world.hasDiskInContainer)) loseDisk(world, machine);
  if (machine.ownEngine && death !== "container killed") {
    stopEngine(world, machine.ownEngine, death);
    if (death === "machine lost") machine.ownEngine.engine.loseData();
  }
}

/** Ends a lictor process without an end of what it did. A supervisor starts another one. */
function kill(world: World, { machine, owner, name, directory, place }: LictorProcess): void {
  const { clock, random } = world;
  owner.alive = false;
  world.trace(() => `${name} is dead`);
  const restartAfterMs = pick(random, [100, 2_000, 30_000]);
  clock.after(restartAfterMs, world.owner, () => startLictor(world, machine, place));
  loseUnwritten(world, { machine, directory });
}

/** Flow runs whose records were not synced cannot be continued. */
function losePower(world: World, machine: Machine): void {
  const { disk, temporaryFiles } = machine;
  const lost = [...disk.files].filter(([, { text, syncedText }]) => text !== syncedText).map(([path]) => path);
  disk.losePower();
  for (const path of lost) lose(world, machine, path);
  machine.loseExitCodes();
  // They are in memory, and a record that is lost would name them.
  temporaryFiles.clear();
}

/** The machine is replaced by one with an empty disk, and perhaps with another name. Its workers then have other names, too. */
function loseDisk(world: World, machine: Machine): void {
  const lost = [...machine.disk.files.keys()];
  machine.disk.files.clear();
  machine.loseExitCodes();
  for (const path of lost) lose(world, machine, path);
  machine.temporaryFiles.clear();
  if (world.random() < 0.5) machine.hostName += "'";
}
