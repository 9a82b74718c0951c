// How lictor processes die in a seed: alone, with their container, with the power of their machine, or with its disk.
import { pick } from "../support/random.ts";
import { deaths } from "./faults.ts";
import { stopEngine } from "./incidents.ts";
import type { LictorProcess } from "./lictor-process.ts";
import type { Machine } from "./machine.ts";
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
  clock.after(restartAfterMs, world.owner, () => world.startLictor(machine, place));
  loseUnwritten(world, { machine, directory });
}

/** A full disk loses the records of a lictor process that could not be written. */
export function loseUnwritten(
  world: World,
  { machine, directory }: Pick<LictorProcess, "machine" | "directory">,
): void {
  for (const path of machine.disk.failedWrites) if (path.startsWith(directory)) lose(world, machine, path);
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

/**
 * Records that the journal record of a flow run is lost. Nobody can know of the temporary files that it would name. If an
 * older record is left, it does not say whether the program was started, and the flow run may be Crashed.
 */
function lose(world: World, { temporaryFiles, disk }: Machine, path: string): void {
  const lost = path.split("/").at(-2) ?? "";
  world.lostWithoutDisk.add(lost);
  if (disk.files.get(path)?.text) world.runs.get(lost)?.truth.losses.push("its newest record was lost");
  for (const [pid, id] of temporaryFiles) if (id === lost) temporaryFiles.delete(pid);
}
