// Opens the journal of this program in its instance directory.
import { hostname } from "node:os";
import { basename } from "node:path";
import { Journal } from "../journal/journal.ts";
import { localFiles } from "../journal/journal-files.ts";
import type { Logger } from "../logger.ts";
import type { InstanceLabels } from "../run/run-context.ts";
import type { OpenInstance } from "./control-socket.ts";
import { findDeadInstances, journalOf, removeDeadInstances, unreadableRecordsOf } from "./instances.ts";

/** Returns the journal of an instance. Without an instance it keeps nothing, and `problem` says so. */
export function openJournal(
  stateDir: string | null,
  instance: OpenInstance | null,
  signal: AbortSignal,
  log: Logger,
): Journal {
  if (stateDir === null || instance === null) return Journal.none("no instance directory", log);
  return new Journal({
    directory: journalOf(instance.directory),
    unreadableDirectory: unreadableRecordsOf(stateDir),
    files: localFiles,
    onTaken: async () => await removeDeadInstances(stateDir, signal),
    deadDirectories: async () => (await findDeadInstances(stateDir, signal)).map(journalOf),
    log,
  });
}

/** Returns what the labels of flow runs say of this program. */
export function instanceLabels(instance: OpenInstance | null): InstanceLabels {
  return { instance: instance && basename(instance.directory), host: hostname() };
}
