// A disk in memory for the journal. What was written survives the death of a process. After a loss of power, a file that
// was not synced is as it was before, or empty.
import type { JournalFiles } from "../../src/journal/journal-files.ts";
import type { Random } from "../support/random.ts";
import type { Owner, VirtualClock } from "./virtual-clock.ts";

/** What the disk needs of the world. */
export interface DiskParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  /** Called at each step of `owner`. It may kill the owner, which then gets no result. */
  readonly onStep: (owner: Owner) => void;
}

interface File {
  text: string;
  /** The content that survives a loss of power. Null if the file would be missing. */
  syncedText: string | null;
}

/** The disk of one machine. */
export class Disk {
  readonly files = new Map<string, File>();
  /** While true, nothing can be written. */
  isFull = false;
  /** The paths whose last write failed. */
  readonly failedWrites = new Set<string>();

  constructor(private readonly parts: DiskParts) {}

  /** Returns the disk as one process sees it. */
  openAs(owner: Owner): JournalFiles {
    const act = async <T>(operation: () => T): Promise<T> => {
      const { clock, random, onStep } = this.parts;
      onStep(owner);
      if (!owner.alive) return await new Promise(() => undefined);
      await clock.pause(random() * 3, owner);
      const result = operation();
      onStep(owner);
      if (!owner.alive) return await new Promise(() => undefined);
      return result;
    };
    return {
      write: (path, text) => act(() => this.#write(path, text)),
      read: (path) => act(() => this.#read(path)),
      sync: (path) => act(() => this.#sync(path)),
      move: (from, to) => act(() => this.#move(from, to)),
      list: (directory) => act(() => this.#list(directory)),
      remove: (path) => act(() => this.#remove(path)),
    };
  }

  /** Loses what was not synced. A rename that was not synced may leave an empty file. */
  losePower(): void {
    for (const [path, file] of [...this.files]) {
      if (file.text === file.syncedText) continue;
      const isTorn = this.parts.random() < 0.2;
      if (isTorn) file.text = "";
      else if (file.syncedText === null) this.files.delete(path);
      else file.text = file.syncedText;
    }
  }

  #write(path: string, text: string): void {
    if (this.isFull) {
      this.failedWrites.add(path);
      throw failure("ENOSPC");
    }
    this.failedWrites.delete(path);
    const file = this.files.get(path);
    if (file) file.text = text;
    else this.files.set(path, { text, syncedText: null });
  }

  #read(path: string): string {
    const file = this.files.get(path);
    if (!file) throw failure("ENOENT");
    return file.text;
  }

  #sync(path: string): void {
    const file = this.files.get(path);
    if (!file) throw failure("ENOENT");
    file.syncedText = file.text;
  }

  #move(from: string, to: string): void {
    const moved = this.#below(from);
    if (this.#below(to).length > 0) throw failure("ENOTEMPTY");
    if (moved.length === 0) throw failure("ENOENT");
    for (const path of moved) {
      this.files.set(to + path.slice(from.length), this.files.get(path) as File);
      this.files.delete(path);
    }
  }

  #list(directory: string): string[] {
    return [...new Set(this.#below(directory).map((path) => path.slice(directory.length + 1).split("/")[0] ?? ""))];
  }

  #remove(directory: string): void {
    for (const path of this.#below(directory)) this.files.delete(path);
  }

  #below(directory: string): string[] {
    return [...this.files.keys()].filter((path) => path === directory || path.startsWith(`${directory}/`));
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}
