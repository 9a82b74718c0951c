// The output of a flow run's processes, as lines. It goes through files and not through pipes: a program that outlives the
// worker goes on writing, and the next worker goes on reading.
import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, rm } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import { FollowedFile } from "./followed-file.ts";

/** One line that a program has printed, without its end. A very long one comes in several pieces. */
export interface OutputLine {
  stream: OutputStream;
  text: string;
}

/** Where a program prints to. */
export type OutputStream = "stdout" | "stderr";

const streams: readonly OutputStream[] = ["stdout", "stderr"];
/** Looking at a file this often is enough for a program that prints without a pause. */
const busyPauseMs = 50;
/** File systems that tell of no changes are looked at this often, others only in case a change was missed. */
const unwatchedMs = 1_000;
const watchedMs = 10_000;

/** The two files of one flow run. Disposing hands over the last lines and removes them. */
export class OutputFiles implements AsyncDisposable {
  readonly #over = new AbortController();
  readonly #watcher: FSWatcher | undefined;
  readonly #news = new Wake();
  readonly #following: Promise<void>;

  private constructor(
    private readonly directory: string,
    private readonly files: Readonly<Record<OutputStream, FollowedFile>>,
    private readonly onLine: (line: OutputLine) => void,
    onError: (error: unknown) => void,
  ) {
    this.#watcher = tryWatch(directory, () => this.#news.wake("event"));
    this.#following = this.#follow(this.#watcher ? watchedMs : unwatchedMs).catch(onError);
  }

  /**
   * Opens the files in `directory`, which is theirs alone, and hands over each line from now on. Files that an earlier
   * worker has left there are read on from where it stopped. `onError` is told when the files can no longer be read.
   */
  static async open(
    directory: string,
    onLine: (line: OutputLine) => void,
    onError: (error: unknown) => void,
  ): Promise<OutputFiles> {
    const stdout = await FollowedFile.open(join(directory, "stdout"));
    try {
      const files = { stdout, stderr: await FollowedFile.open(join(directory, "stderr")) };
      return new OutputFiles(directory, files, onLine, onError);
    } catch (error) {
      await stdout[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Both files, for a program to append to: standard output and error. The caller closes them. */
  async openForProgram(): Promise<[stdout: FileHandle, stderr: FileHandle]> {
    const stdout = await this.files.stdout.openForProgram();
    try {
      return [stdout, await this.files.stderr.openForProgram()];
    } catch (error) {
      await stdout.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    this.#watcher?.close();
    await this.#following;
    for (const stream of streams) await this.files[stream][Symbol.asyncDispose]();
    // Best effort: the directory is a temporary one.
    await rm(this.directory, { recursive: true, force: true }).catch(() => {});
  }

  async #follow(longestPauseMs: number): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      await this.#read(false);
      await sleep(busyPauseMs, signal);
      await this.#news.sleep(longestPauseMs, signal);
    }
    await this.#read(true);
  }

  async #read(isLast: boolean): Promise<void> {
    for (const stream of streams) {
      await this.files[stream].read((text) => this.onLine({ stream, text }), { isLast });
    }
  }
}

/** Undefined where the system has no watches left. */
function tryWatch(directory: string, onChange: () => void): FSWatcher | undefined {
  try {
    // The position files change when lines were read, which is no news.
    const onEvent = (_: string, name: string | null): void => {
      if (name === null || (streams as readonly string[]).includes(name)) onChange();
    };
    return watch(directory, { persistent: false }, onEvent).on("error", () => {});
  } catch {
    return undefined;
  }
}
