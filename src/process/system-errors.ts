// What the system's error codes mean for somebody who runs a worker.

/** The code of a system error ("ENOENT"), or undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return typeof code === "string" ? code : undefined;
}

/** Completes the sentence "The directory … ". */
const directoryProblems: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "is not a directory",
  EACCES: "may not be written to",
  EPERM: "may not be written to",
  EROFS: "is read-only",
  ENOSPC: "is full: no space or no inode left",
  EDQUOT: "is over the user's disk quota",
  EMFILE: "cannot be written to: this process has no file handle left (ulimit -n)",
  ENFILE: "cannot be written to: the system has no file handle left",
};

/** Why no file can be made in a directory, in words: "does not exist". */
export function directoryProblem(error: unknown): string {
  const code = systemCode(error);
  return directoryProblems[code ?? ""] ?? `cannot be written to (${code ?? String(error)})`;
}

/** Lacks of the machine that may be over in a moment, and what to do where they are not. */
const lacks: Readonly<Record<string, string>> = {
  EAGAIN:
    "The system lets this user start no further process. Raise the limit of processes (ulimit -u, TasksMax of systemd, " +
    "the pids limit of a container), or lower the worker's --limit.",
  ENOMEM:
    "The system has no memory for a further process. Lower the worker's --limit, or give the machine more memory.",
  EMFILE: "This worker has no file handle left. Raise its limit (ulimit -n, LimitNOFILE of systemd).",
  ENFILE: "The system has no file handle left. Raise fs.file-max.",
};

/** What a machine lacks that could not start a process, and what to do; undefined when the error means something else. */
export function findLack(error: unknown): string | undefined {
  return lacks[systemCode(error) ?? ""];
}
