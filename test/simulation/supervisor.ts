// The supervisors of the simulation: they start lictor processes, and start those again that have ended.

import { findLeft } from "./invariants.ts";
import { LictorProcess } from "./lictor-process.ts";
import { loseUnwritten } from "./lost-records.ts";
import type { Machine } from "./machine.ts";
import type { World } from "./world.ts";

/** The work pool of all workers. */
export const poolName = "p";

/** A supervisor starts a process again after this time. */
const restartMs = 2_000;

/** Starts a lictor process. The names of its worker and of its host change together. */
export function startLictor(world: World, machine: Machine, place: string): void {
  if (world.isOver) return;
  const { limit, onLost, random, lostAfterSeconds, createsPool, cancelsAbandoned, lictors, clock, owner } = world;
  const name = machine.hostName.replace(machine.name, place);
  const lictor = new LictorProcess(
    machine,
    world.network,
    {
      ...{ name, place, poolName, limit, onLost, random, lostAfterSeconds, createsPool, cancelsAbandoned },
      number: lictors.length,
      trace: world.print ? (line) => world.trace(() => `${name}: ${line()}`) : null,
    },
    () => {
      world.trace(() => `${name} ended: ${lictor.ended?.error ?? "drained"}`);
      clock.after(0, owner, () => world.exceeded.push(...findLeft(lictor)));
      loseUnwritten(world, lictor);
      if (!lictor.isReplaced) clock.after(restartMs, owner, () => startLictor(world, machine, place));
    },
  );
  lictor.livingInstances = () =>
    world
      .running()
      .filter((each) => each.machine === machine)
      .map(({ directory }) => directory);
  lictor.deadDirectories = () =>
    lictors
      .filter((each) => each.machine === machine && (!each.owner.alive || each.ended))
      .map(({ directory }) => `${directory}/runs`);
  lictor.onLeave = () => clock.after(0, owner, () => onExit(world, lictor));
  lictors.push(lictor);
  world.trace(() => `${name} starts on ${machine.name}`);
  clock.after(0, lictor.owner, () => void lictor.run());
}

/** A lictor process has exited without an end of what it did. */
function onExit(world: World, lictor: LictorProcess): void {
  if (!lictor.owner.alive || lictor.ended) return;
  world.trace(() => `${lictor.name} exits at once`);
  lictor.owner.alive = false;
  world.clock.after(restartMs, world.owner, () => startLictor(world, lictor.machine, lictor.place));
}
