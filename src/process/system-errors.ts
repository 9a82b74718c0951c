// Explains the system's error codes to somebody who runs a worker.

/** Returns the code of a system error ("ENOENT"), or undefined for any other value. */
export function systemCode(error: unknown): string | undefined {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return typeof code === "string" ? code : undefined;
}

/** Each completes the sentence "The directory …". */
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

/** Returns why no file can be created in a directory, such as "does not exist". */
export function directoryProblem(error: unknown): string {
  const code = systemCode(error);
  return directoryProblems[code ?? ""] ?? `cannot be written to (${code ?? String(error)})`;
}

/** Shortages of the machine that may soon end, and what to do if they do not. */
const shortages: Readonly<Record<string, string>> = {
  EAGAIN:
    "The system lets this user start no further process. Raise the limit of processes (ulimit -u, TasksMax of systemd, " +
    "the pids limit of a container), or lower the worker's --limit.",
  ENOMEM:
    "The system has no memory for a further process. Lower the worker's --limit, or give the machine more memory.",
  EMFILE: "This worker has no file handle left. Raise its limit (ulimit -n, LimitNOFILE of systemd).",
  ENFILE: "The system has no file handle left. Raise fs.file-max.",
  ENOSPC: "The disk is full: no space or no inode left. Make room there.",
  EDQUOT: "The user's disk quota is used up. Make room, or raise the quota.",
};

/** Returns which shortage prevented the start of a process, and what to do; undefined for any other error. */
export function findShortage(error: unknown): string | undefined {
  return shortages[systemCode(error) ?? ""];
}

/** The machine lacks something that may be there again later. The message says what it is and what to do. */
export class ShortageError extends Error {
  override readonly name = "ShortageError";
  constructor(
    /** Names what is lacking, for example "EAGAIN". */
    readonly kind: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Each part of the bundle has a class of its own, so an instance is known by its name. */
  static override [Symbol.hasInstance](error: unknown): boolean {
    return error instanceof Error && error.name === "ShortageError";
  }
}

/** Returns a ShortageError if the system's error is a shortage, else the error itself. */
export function explainShortage(error: unknown): unknown {
  const advice = findShortage(error);
  if (advice === undefined) return error;
  return new ShortageError(String(systemCode(error)), `${(error as Error).message}: ${advice}`, { cause: error });
}
