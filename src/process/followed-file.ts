// Reads a file that a program appends its output to, while it grows. Frees the disk space of what was read.
import { execFile } from "node:child_process";
import { fstatSync, ftruncateSync } from "node:fs";
import { type FileHandle, open, readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { LineCutter } from "./output-lines.ts";

const chunkBytes = 64 * 1024;
/** How many bytes that were read may stay on disk. */
const keptBytes = 8 * 1024 * 1024;
/** `fallocate` frees only whole blocks. */
const blockBytes = 4096;

/** A growing file and the position up to which it was read. The position is stored in a second file beside it. */
export class FollowedFile implements AsyncDisposable {
  readonly #lines = new LineCutter();
  readonly #chunk = Buffer.alloc(chunkBytes);
  /** All in bytes from the start: what was read, what was stored as the position, and what is no longer on disk. */
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

  /** Opens or creates the file. Reading begins where an earlier reader stopped. Throws the system's error. */
  static async open(path: string): Promise<FollowedFile> {
    const file = await open(path, "a+", 0o600);
    const saved = Number(await readFile(positionOf(path), "utf8").catch(() => "0"));
    const { size } = await file.stat();
    // A file that is shorter than its stored position was emptied just before its reader ended.
    return new FollowedFile(path, file, saved > 0 && saved <= size ? saved : 0);
  }

  /** Returns the file, opened for a program to append to. The caller closes it. Throws the system's error. */
  async openForProgram(): Promise<FileHandle> {
    return await open(this.path, "a");
  }

  /** Reads new bytes and passes whole lines to `onLine`; with `isLast`, also a line without an end. */
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

  /** Stores the position, so that the next reader does not pass on the same lines again. */
  async #savePosition(): Promise<void> {
    const position = Math.max(0, this.#offset - this.#lines.pendingBytes);
    if (position === this.#savedPosition) return;
    this.#savedPosition = position;
    // On a full disk the position is not stored, and the next reader may repeat some lines.
    await writeFile(positionOf(this.path), String(position), { mode: 0o600 }).catch(() => {});
  }

  /**
   * Frees the disk space of what was read. A hole at the file's start loses nothing. If the system cannot make a hole, the
   * file is emptied once all of it was read. A line that is written between these two calls is lost.
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

/** Frees the blocks of the file's first bytes; the length stays. Returns false if the system cannot do that. */
async function makeHole(path: string, bytes: number): Promise<boolean> {
  const hole = ["--punch-hole", "--offset", "0", "--length", String(bytes), path];
  return await promisify(execFile)("fallocate", hole).then(
    () => true,
    () => false,
  );
}
