// The error class of all sockets.

/**
 * Why a socket could not be opened, or why it ended. `code` and `reason` are from the close frame. `status` is the HTTP
 * status of a refused upgrade, and `isJson` tells whether its body is JSON. `cause` is the likely cause and what to do.
 * For a connection that broke off, `openMs` is its age and `silentMs` is the time since its last byte. `shouldWarn` is
 * false if a cause was reported within the last hour. `isOwnEnd` is true if the worker closed a good connection itself.
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
      shouldWarn?: boolean;
      isOwnEnd?: boolean;
    } = {},
  ) {
    super(message);
  }
}
