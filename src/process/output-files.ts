// Reads the output of a flow run's processes as lines. The output goes to files instead of pipes, because a program that
// outlives the worker can continue to write. The next worker can continue to read.
import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, rm } from "node:fs/promises";
import { join } from "node:path";
import { sleep, waitAtMost } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import { FollowedFile } from "./followed-file.ts";
import type { LinesSettled } from "./stored-position.ts";

/** One line that a program printed, without its line end. A very long line is split into several. */
export interface OutputLine {
  stream: OutputStream;
  text: string;
}

/** The stream that a program prints to. */
export type OutputStream = "stdout" | "stderr";

const streams: readonly OutputStream[] = ["stdout", "stderr"];
/** The shortest pause between two reads, for a program that prints continuously. */
const busyPauseMs = 50;
/** The longest pause: without notices of changes, and with them, in case a notice was lost. */
const unwatchedMs = 1_000;
const watchedMs = 10_000;
/** The files are kept for the next worker until the last lines have arrived, at most for this time. */
const lastLinesMs = 10_000;

/** What becomes of the lines. */
export interface LineTarget {
  readonly onLine: (line: OutputLine) => void;
  /** Tells when the lines have arrived; null if that is at once. */
  readonly settled?: LinesSettled | null | undefined;
  /** Called once when the files can no longer be read. */
  readonly onError: (error: unknown) => void;
}

/** The two files of one flow run. Disposing passes on the last lines and removes the files. */
export class OutputFiles implements AsyncDisposable {
  readonly #over = new AbortController();
  readonly #watcher: FSWatcher | undefined;
  readonly #changed = new Wake();
  readonly #following: Promise<void>;
  #reading: Promise<void> = Promise.resolve();
  #hasLines = false;

  private constructor(
    private readonly directory: string,
    private readonly files: Readonly<Record<OutputStream, FollowedFile>>,
    private readonly target: LineTarget,
  ) {
    this.#watcher = tryWatch(directory, () => this.#changed.wake("event"));
    this.#following = this.#follow(this.#watcher ? watchedMs : unwatchedMs).catch(target.onError);
  }

  /**
   * Opens the files in `directory`, which holds nothing else, and passes each line on from now on. Files of an earlier
   * worker are read from where it stopped. Throws the system's error when the files cannot be opened.
   */
  static async open(directory: string, target: LineTarget): Promise<OutputFiles> {
    const stdout = await FollowedFile.open(join(directory, "stdout"), target.settled);
    try {
      const files = { stdout, stderr: await FollowedFile.open(join(directory, "stderr"), target.settled) };
      return new OutputFiles(directory, files, target);
    } catch (error) {
      await stdout[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The paths of both files, for a program that opens them itself, to append to them. */
  get paths(): readonly [stdout: string, stderr: string] {
    return [join(this.directory, "stdout"), join(this.directory, "stderr")];
  }

  /** Returns both files, opened for a program to append to. The caller closes them. Throws the system's error. */
  async openForProgram(): Promise<[stdout: FileHandle, stderr: FileHandle]> {
    const stdout = await this.files.stdout.openForProgram();
    try {
      return [stdout, await this.files.stderr.openForProgram()];
    } catch (error) {
      await stdout.close();
      throw error;
    }
  }

  /** Passes on all that was printed until now, also a line without an end. Never rejects. */
  async passOnAll(): Promise<void> {
    await this.#read(true).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    this.#watcher?.close();
    await this.#following;
    const { settled } = this.target;
    if (settled && this.#hasLines) await waitAtMost(settled({ soon: true }), lastLinesMs, new AbortController().signal);
    for (const stream of streams) await this.files[stream][Symbol.asyncDispose]();
    // Best effort: the directory is a temporary one.
    await rm(this.directory, { recursive: true, force: true }).catch(() => {});
  }

  async #follow(longestPauseMs: number): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      await this.#read(false);
      await sleep(busyPauseMs, signal);
      await this.#changed.sleep(longestPauseMs, signal);
    }
    await this.#read(true);
  }

  /** Reads one after the other, because a file has one position. */
  async #read(isLast: boolean): Promise<void> {
    this.#reading = this.#reading.then(async () => await this.#readNow(isLast));
    await this.#reading;
  }

  async #readNow(isLast: boolean): Promise<void> {
    for (const stream of streams) {
      await this.files[stream].read((text) => this.#pass({ stream, text }), { isLast });
    }
  }

  #pass(line: OutputLine): void {
    this.#hasLines = true;
    this.target.onLine(line);
  }
}

/** Returns undefined if the system has no watches left. */
function tryWatch(directory: string, onChange: () => void): FSWatcher | undefined {
  try {
    // The position files also change, but only because this program reads lines.
    const onEvent = (_: string, name: string | null): void => {
      if (name === null || (streams as readonly string[]).includes(name)) onChange();
    };
    return watch(directory, { persistent: false }, onEvent).on("error", () => {});
  } catch {
    return undefined;
  }
}
