// What is lost with the records of the journal.
import type { LictorProcess } from "./lictor-process.ts";
import type { Machine } from "./machine.ts";
import type { World } from "./world.ts";

/** A full disk loses the records of a lictor process that could not be written. */
export function loseUnwritten(
  world: World,
  { machine, directory }: Pick<LictorProcess, "machine" | "directory">,
): void {
  for (const path of machine.disk.failedWrites) if (path.startsWith(directory)) lose(world, machine, path);
}

/**
 * Records that the journal record of a flow run is lost. Nobody can know of the temporary files that it would name. If an
 * older record is left, it does not say whether the program was started, and the flow run may be Crashed.
 */
export function lose(world: World, { temporaryFiles, disk }: Machine, path: string): void {
  const lost = path.split("/").at(-2) ?? "";
  world.lostWithoutDisk.add(lost);
  if (disk.files.get(path)?.text) world.runs.get(lost)?.truth.losses.push("its newest record was lost");
  for (const [pid, id] of temporaryFiles) if (id === lost) temporaryFiles.delete(pid);
}
