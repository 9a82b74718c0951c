// One file that a program appends its output to, read as it grows, and kept small on disk.
import { execFile } from "node:child_process";
import { fstatSync, ftruncateSync } from "node:fs";
import { type FileHandle, open, readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { LineCutter } from "./output-lines.ts";

const chunkBytes = 64 * 1024;
/** How much that has been read may stay on disk. */
const keptBytes = 8 * 1024 * 1024;
/** `fallocate` gives whole blocks back only. */
const blockBytes = 4096;

/** A file that grows, and how far it has been read. The position is kept in a second file beside it. */
export class FollowedFile implements AsyncDisposable {
  readonly #lines = new LineCutter();
  readonly #chunk = Buffer.alloc(chunkBytes);
  /** How far the file has been read, how far an earlier reader has read it, and how much of it is no longer on disk. */
  #offset: number;
  #savedPosition: number;
  #freedBytes: number;
  #canMakeHoles = true;

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    position: number,
  ) {
    this.#offset = position;
    this.#savedPosition = position;
    this.#freedBytes = position;
  }

  /** Opens the file, creates it if there is none, and goes on where an earlier reader of it has stopped. */
  static async open(path: string): Promise<FollowedFile> {
    const file = await open(path, "a+", 0o600);
    const saved = Number(await readFile(positionOf(path), "utf8").catch(() => "0"));
    const { size } = await file.stat();
    // A file that is shorter than that was emptied just before its reader ended.
    return new FollowedFile(path, file, saved > 0 && saved <= size ? saved : 0);
  }

  /** Opens the file for a program to append to; the caller closes it. */
  async openForProgram(): Promise<FileHandle> {
    return await open(this.path, "a");
  }

  /** Reads what has come since and hands it over by whole lines; with `isLast`, also a line that has not ended. */
  async read(onLine: (text: string) => void, { isLast = false } = {}): Promise<void> {
    for (;;) {
      const { bytesRead } = await this.file.read(this.#chunk, 0, chunkBytes, this.#offset);
      if (bytesRead === 0) break;
      this.#offset += bytesRead;
      for (const line of this.#lines.push(this.#chunk.subarray(0, bytesRead))) onLine(line);
      await this.#savePosition();
      if (this.#offset - this.#freedBytes > keptBytes) await this.#free();
    }
    if (!isLast) return;
    for (const line of this.#lines.end()) onLine(line);
    await this.#savePosition();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
  }

  /** Lines that have been handed over are not to be handed over again by the next reader. */
  async #savePosition(): Promise<void> {
    const position = Math.max(0, this.#offset - this.#lines.pendingBytes);
    if (position === this.#savedPosition) return;
    this.#savedPosition = position;
    // On a full disk lines are handed over all the same; the next reader may then repeat some.
    await writeFile(positionOf(this.path), String(position), { mode: 0o600 }).catch(() => {});
  }

  /**
   * Gives what has been read back to the file system. A hole at the file's start loses nothing. Where the system cannot make
   * one, the file is emptied as soon as all of it has been read; a line that is written between the two calls is lost.
   */
  async #free(): Promise<void> {
    const until = this.#savedPosition - (this.#savedPosition % blockBytes);
    if (this.#canMakeHoles) this.#canMakeHoles = await makeHole(this.path, until);
    if (this.#canMakeHoles) {
      this.#freedBytes = until;
    } else if (fstatSync(this.file.fd).size === this.#offset) {
      ftruncateSync(this.file.fd);
      this.#offset = 0;
      this.#freedBytes = 0;
      await this.#savePosition();
    }
  }
}

function positionOf(path: string): string {
  return `${path}.position`;
}

/** Frees the blocks of the file's first bytes; its length stays. False where the system has no program for it, or cannot. */
async function makeHole(path: string, bytes: number): Promise<boolean> {
  const hole = ["--punch-hole", "--offset", "0", "--length", String(bytes), path];
  return await promisify(execFile)("fallocate", hole).then(
    () => true,
    () => false,
  );
}
