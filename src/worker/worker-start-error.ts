// The error for a worker that cannot be started, for a reason that the user can mend.

/** A reason why the worker cannot start. The message is the whole line that the user sees. */
export class WorkerStartError extends Error {
  override readonly name = "WorkerStartError";
}
