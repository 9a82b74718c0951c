// The files of the journal on the local disk.
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** What the journal needs of a disk. All methods throw the system's error. The simulation has a disk in memory. */
export interface JournalFiles {
  /** Writes a file completely or not at all, and creates its directory. Other users cannot read it. */
  write(path: string, text: string): Promise<void>;
  read(path: string): Promise<string>;
  /** Makes the file and its directory survive a loss of power. */
  sync(path: string): Promise<void>;
  /** Moves a directory in one step. Throws ENOENT if somebody else has moved it. */
  move(from: string, to: string): Promise<void>;
  /** Returns the names in a directory. A directory that does not exist is empty. */
  list(directory: string): Promise<string[]>;
  /** Removes a file or a directory with all that it holds, if it exists. */
  remove(path: string): Promise<void>;
}

/** The local disk. */
export const localFiles: JournalFiles = {
  async write(path, text) {
    const unfinished = `${path}.new`;
    await whileMaking(dirname(path), async () => {
      await using file = await open(unfinished, "w", 0o600);
      await file.writeFile(text);
    });
    await rename(unfinished, path);
  },
  read: async (path) => await readFile(path, "utf8"),
  async sync(path) {
    for (const each of [path, dirname(path), dirname(dirname(path))]) {
      await using opened = await open(each, "r");
      await opened.sync();
    }
  },
  async move(from, to) {
    await whileMaking(dirname(to), async () => await rename(from, to));
  },
  async list(directory) {
    return await readdir(directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
  },
  remove: async (path) => await rm(path, { recursive: true, force: true }),
};

/** Calls `act`, and once more after making `directory` if that was missing. */
async function whileMaking(directory: string, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    await makePrivateDirectories(directory);
    await act();
  }
}

/**
 * Creates a directory and its parents for this user only. Throws the system's error. A recursive `mkdir` of Node.js 20
 * never returns below /proc, because it creates the same directory again and again.
 */
export async function makePrivateDirectories(directory: string): Promise<void> {
  const make = async (): Promise<void> => {
    await mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  };
  await make().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT" || dirname(directory) === directory) throw error;
    await makePrivateDirectories(dirname(directory));
    await make();
  });
}
