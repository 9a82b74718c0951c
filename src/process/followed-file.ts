// Reads a file that a program appends its output to, while it grows. Frees the disk space of what was read.
import { execFile } from "node:child_process";
import { fstatSync, ftruncateSync } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { LineCutter } from "./output-lines.ts";
import { type LinesSettled, StoredPosition } from "./stored-position.ts";

const chunkBytes = 64 * 1024;
/** How many bytes that were read may stay on disk. */
const keptBytes = 8 * 1024 * 1024;
/** How many bytes may wait for their lines to arrive. More would fill the disk while the server is away. */
const unsettledBytes = 32 * 1024 * 1024;
/** `fallocate` frees only whole blocks. */
const blockBytes = 4096;

/** A growing file and the position up to which it was read. The position is stored in a second file beside it. */
export class FollowedFile implements AsyncDisposable {
  readonly #lines = new LineCutter();
  readonly #chunk = Buffer.alloc(chunkBytes);
  /** Both in bytes from the start: what was read, and what is no longer on disk. */
  #offset: number;
  #freedBytes: number;
  readonly #position: StoredPosition<number>;
  #canMakeHoles = true;

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    position: number,
    settled: LinesSettled | null,
  ) {
    this.#offset = position;
    this.#freedBytes = position;
    this.#position = new StoredPosition(positionOf(path), position, settled);
  }

  /**
   * Opens or creates the file. Reading begins where an earlier reader stopped. `settled` tells when the lines have arrived;
   * null for at once. Throws the system's error.
   */
  static async open(path: string, settled: LinesSettled | null = null): Promise<FollowedFile> {
    const file = await open(path, "a+", 0o600);
    const saved = Number(await readFile(positionOf(path), "utf8").catch(() => "0"));
    const { size } = await file.stat();
    // A file that is shorter than its stored position was emptied just before its reader ended.
    return new FollowedFile(path, file, saved > 0 && saved <= size ? saved : 0, settled);
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
      await this.#notePosition();
      if (this.#offset - this.#freedBytes > keptBytes) await this.#free();
    }
    if (!isLast) return;
    for (const line of this.#lines.end()) onLine(line);
    await this.#notePosition();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
  }

  /** Notes the position, so that the next reader does not pass on the same lines again. */
  async #notePosition(): Promise<void> {
    const position = Math.max(0, this.#offset - this.#lines.pendingBytes);
    this.#position.note(position);
    if (position - this.#position.stored > unsettledBytes) await this.#position.store(position);
  }

  /**
   * Frees the disk space of what was read. A hole at the file's start loses nothing. If the system cannot make a hole, the
   * file is emptied once all of it was read. A line that is written between these two calls is lost.
   */
  async #free(): Promise<void> {
    const { stored } = this.#position;
    const until = stored - (stored % blockBytes);
    if (until - this.#freedBytes <= keptBytes / 2) return;
    if (this.#canMakeHoles) this.#canMakeHoles = await makeHole(this.path, until);
    if (this.#canMakeHoles) {
      this.#freedBytes = until;
    } else if (stored === this.#offset && fstatSync(this.file.fd).size === this.#offset) {
      ftruncateSync(this.file.fd);
      this.#offset = 0;
      this.#freedBytes = 0;
      await this.#position.store(0);
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
