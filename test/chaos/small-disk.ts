// A small file system that can be filled up.
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../support/run-command.ts";

/** Room for the records of some hundred flow runs, and quickly filled. */
const size = "8m";

/** A mounted file system. Disposing unmounts it. */
export interface SmallDisk extends AsyncDisposable {
  /** Leaves no room for another byte. */
  fill(): Promise<void>;
  /** Makes room again. */
  free(): Promise<void>;
}

/** Mounts a file system in memory on the directory. Returns null where this is not permitted. */
export async function tryMountSmallDisk(directory: string): Promise<SmallDisk | null> {
  const { code } = await runCommand("mount", ["-t", "tmpfs", "-o", `size=${size},mode=0700`, "tmpfs", directory]).catch(
    () => ({ code: 1 }),
  );
  if (code !== 0) return null;
  const ballast = join(directory, "ballast");
  return {
    fill: () => writeUntilFull(ballast),
    free: () => rm(ballast, { force: true }),
    async [Symbol.asyncDispose]() {
      const unmounted = await runCommand("umount", [directory]);
      // A process that is just ending may still have a file open.
      if (unmounted.code !== 0) await runCommand("umount", ["--lazy", directory]);
    },
  };
}

async function writeUntilFull(file: string): Promise<void> {
  await using handle = await open(file, "w");
  // Large blocks first, and then the last bytes.
  for (const length of [65_536, 4_096, 1]) {
    const block = Buffer.alloc(length);
    for (;;) {
      try {
        await handle.write(block);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        break;
      }
    }
  }
}
