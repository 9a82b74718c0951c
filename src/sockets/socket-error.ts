// The one error of all sockets.

/**
 * Why a socket could not be opened, or ended. `code` and `reason` are those of the close, `status` is the HTTP status of
 * a refused upgrade, `isJson` whether its body is JSON, `cause` the likely cause and what to do. Of a connection that broke off, `openMs` is its age,
 * `silentMs` the time since the last byte, and `isNews` false when the cause was reported within the last hour.
 */
export class SocketError extends Error {
  override readonly name = "SocketError";
  constructor(
    message: string,
    readonly details: {
      code?: number;
      reason?: string;
      status?: number;
      isJson?: boolean;
      cause?: string;
      openMs?: number;
      silentMs?: number;
      isNews?: boolean;
    } = {},
  ) {
    super(message);
  }
}
