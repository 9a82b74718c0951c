// The journal: one durable record per flow run in flight. If the worker is killed, the next worker on this machine reads the
// records and continues. A record is the file `record.json` in a directory of the flow run. The directory also holds the
// flow run's output, so that one rename hands both over.
import { basename, join } from "node:path";
import type { JsonObject } from "../api/wire.ts";
import type { Logger } from "../logger.ts";
import { randomHex } from "../random-ids.ts";
import { type JournalFiles, localFiles } from "./journal-files.ts";

/** The shape of records. A record of another version is set aside, because its fields may mean something else. */
export const journalVersion = 1;

const recordName = "record.json";

/** Where a journal is, and what it uses. */
export interface JournalOptions {
  /** The directory for the flow runs of this program; null if there is none. */
  readonly directory: string | null;
  /** Where records go that cannot be read. */
  readonly unreadableDirectory: string;
  readonly files: JournalFiles;
  /** Returns the directories of the flow runs of programs that are dead. */
  deadDirectories(): Promise<string[]>;
  /** Called when records were taken, to remove what is left of the dead programs. */
  onTaken?(): Promise<void>;
  readonly log: Logger;
}

/** A record of a dead program that belongs to this one now. */
export interface TakenRecord {
  readonly flowRunId: string;
  readonly record: JsonObject;
}

const effect =
  "Flow runs go on. If this worker is killed, the next worker cannot continue them. Check LICTOR_STATE_DIR and its disk.";

/** The journal of one program. No method throws: a worker without a journal works, but its records are lost when it dies. */
export class Journal {
  #problem: string | null;
  readonly #unsynced = new Set<string>();
  #syncing: Promise<void> | undefined;
  /** The warnings about records of dead programs. Programs look for such records again and again. */
  readonly #warned = new Set<string>();

  constructor(
    private readonly options: JournalOptions,
    problem: string | null = null,
  ) {
    this.#problem = problem;
  }

  /** Returns a journal that keeps nothing. `problem` says why. */
  static none(problem: string, log: Logger): Journal {
    const deadDirectories = async (): Promise<string[]> => [];
    return new Journal({ directory: null, unreadableDirectory: "", files: localFiles, deadDirectories, log }, problem);
  }

  /** Why records cannot be written now, for example "ENOSPC"; null if they can. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Returns the directory of a flow run; null without a directory for the journal. It may not exist. */
  directoryOf(flowRunId: string): string | null {
    const { directory } = this.options;
    return directory === null ? null : join(directory, fileNameOf(flowRunId));
  }

  /**
   * Replaces the record of a flow run. The record survives the death of this program when this returns. It survives a loss
   * of power some time later, because a sync takes longer than a claim. After a failure the old record stands.
   */
  async write(flowRunId: string, record: JsonObject): Promise<void> {
    const directory = this.directoryOf(flowRunId);
    if (directory === null) return;
    const path = join(directory, recordName);
    const text = JSON.stringify({ version: journalVersion, flowRunId, record });
    await this.#attempt(async () => {
      await this.options.files.write(path, text);
      this.#unsynced.add(path);
      this.#syncing ??= this.#sync().finally(() => {
        this.#syncing = undefined;
      });
    });
  }

  /** Removes the record and the directory of a flow run. */
  async remove(flowRunId: string): Promise<void> {
    const directory = this.directoryOf(flowRunId);
    if (directory === null) return;
    this.#unsynced.delete(join(directory, recordName));
    await this.options.files.remove(directory).catch((error: unknown) => {
      this.options.log.debug({ err: error, flow_run_id: flowRunId }, "A journal record could not be removed");
    });
  }

  /** Waits until no record has to be synced any more. */
  async synced(): Promise<void> {
    await this.#syncing;
  }

  /**
   * Takes the records of dead programs for which `accepts` returns true, and moves them into this journal. Of two programs
   * that do this at the same time, one gets a record. Records that cannot be read are set aside with one warning.
   */
  async takeOver(accepts: (record: JsonObject) => boolean): Promise<TakenRecord[]> {
    const taken: TakenRecord[] = [];
    if (this.options.directory === null) return taken;
    for (const dead of await this.#listOrNone(() => this.options.deadDirectories())) {
      for (const name of await this.#listOrNone(() => this.options.files.list(dead))) {
        const found = await this.#takeOne(join(dead, name), accepts);
        if (found) taken.push(found);
      }
    }
    if (taken.length > 0) await this.options.onTaken?.().catch(() => undefined);
    return taken;
  }

  async #takeOne(from: string, accepts: (record: JsonObject) => boolean): Promise<TakenRecord | null> {
    const { files } = this.options;
    try {
      const read = parse(await files.read(join(from, recordName)));
      if (read === null) {
        await this.#setAside(from);
        return null;
      }
      const to = this.directoryOf(read.flowRunId);
      if (to === null || !accepts(read.record)) return null;
      await files.move(from, to);
      return read;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // ENOENT: another worker has taken it, or the program died before it wrote the record or while it removed it.
      if (code === "ENOENT") await files.remove(from).catch(() => undefined);
      else this.#warnOnce(error, `The journal record ${from} of a dead worker cannot be taken over`);
      return null;
    }
  }

  async #setAside(from: string): Promise<void> {
    const to = join(this.options.unreadableDirectory, `${basename(from)}-${randomHex(8)}`);
    await this.options.files.move(from, to);
    const advice = "If its flow run does not end, look at the file and cancel the flow run";
    this.options.log.warn(`A journal record of a dead worker is not readable. It was moved to ${to}. ${advice}.`);
  }

  async #listOrNone(list: () => Promise<string[]>): Promise<string[]> {
    return await list().catch((error: unknown) => {
      this.#warnOnce(error, "The journals of dead workers cannot be read");
      return [];
    });
  }

  #warnOnce(error: unknown, message: string): void {
    this.options.log[this.#warned.has(message) ? "debug" : "warn"]({ err: error }, message);
    this.#warned.add(message);
  }

  /** Syncs one record after the other, because many at once would delay all other reads and writes of the program. */
  async #sync(): Promise<void> {
    for (const path of this.#unsynced) {
      this.#unsynced.delete(path);
      // A record that was removed meanwhile cannot be synced. Any other failure shows with the next write.
      await this.options.files.sync(path).catch(() => undefined);
    }
  }

  async #attempt(act: () => Promise<void>): Promise<void> {
    const { log, directory } = this.options;
    try {
      await act();
      if (this.#problem !== null) log.info(`The journal in ${directory} can be written again.`);
      this.#problem = null;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const problem = code ?? message;
      if (this.#problem === null) log.warn(`The journal in ${directory} cannot be written (${problem}). ${effect}`);
      this.#problem = problem;
    }
  }
}

/** Returns a file name for an id. Ids come from the server, and a path in an id must not lead elsewhere. */
function fileNameOf(flowRunId: string): string {
  return encodeURIComponent(flowRunId).replaceAll(".", "%2E").slice(0, 200);
}

/** Returns the content of a record file, or null if it is torn, of another program, or of another version. */
function parse(text: string): TakenRecord | null {
  try {
    const content = JSON.parse(text) as { version?: unknown; flowRunId?: unknown; record?: unknown } | null;
    const { version, flowRunId, record } = content ?? {};
    const isRecord = typeof record === "object" && record !== null && !Array.isArray(record);
    return version === journalVersion && typeof flowRunId === "string" && isRecord
      ? { flowRunId, record: record as JsonObject }
      : null;
  } catch {
    return null;
  }
}
