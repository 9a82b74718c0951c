// The one error of all sockets.

/**
 * Why a socket could not be opened, or ended. `code` and `reason` are those of the close, `status` is the HTTP status of
 * a refused upgrade and `cause` its likely cause.
 */
export class SocketError extends Error {
  override readonly name = "SocketError";
  constructor(
    message: string,
    readonly details: { code?: number; reason?: string; status?: number; cause?: string } = {},
  ) {
    super(message);
  }
}
