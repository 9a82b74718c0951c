// A worker that cannot be started, for a reason that the user can do something about.

/** The message is the whole line that the user sees. */
export class WorkerStartError extends Error {
  override readonly name = "WorkerStartError";
}
