// A worker that cannot be started, for a reason the user can do something about.

/** The message is the whole line that the user sees. */
export class StartError extends Error {
  override readonly name = "StartError";
}
