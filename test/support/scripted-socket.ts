// The server's end of a WebSocket connection, for a test that plays the server frame by frame.
import { EventEmitter, once } from "node:events";
import { WebSocket } from "ws";

/** Frames are JSON in both directions. */
export class ScriptedSocket {
  /** How the connection ended; 1006 if it broke off. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;
  readonly #received: unknown[] = [];
  readonly #changes = new EventEmitter();

  constructor(socket: WebSocket) {
    this.#socket = socket;
    // A reset by the client comes as an error first; "close" follows.
    socket.on("error", () => undefined);
    socket.on("message", (data) => {
      this.#received.push(JSON.parse(data.toString()));
      this.#changes.emit("change");
    });
    this.closed = once(socket, "close").then(([code, reason]) => {
      this.#changes.emit("change");
      return { code: code as number, reason: String(reason) };
    });
  }

  /** The next frame that has not been taken yet; throws once the connection is closed. */
  async next<Frame>(): Promise<Frame> {
    while (this.#received.length === 0) {
      if (this.#socket.readyState === WebSocket.CLOSED) throw new Error("closed while a frame was expected");
      await once(this.#changes, "change");
    }
    return this.#received.shift() as Frame;
  }

  /** Takes the client's auth frame, accepts it whatever its token, and gives it. */
  async acceptAuth(): Promise<{ type: string; token: string | null }> {
    const frame = await this.next<{ type: string; token: string | null }>();
    if (frame.type !== "auth") throw new Error(`expected auth, got ${JSON.stringify(frame)}`);
    this.send({ type: "auth_success" });
    return frame;
  }

  /** Sends a frame; a string goes out as it is, so it may be no JSON. */
  send(frame: unknown): void {
    this.#socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** Closes with a code and a reason. */
  close(code: number, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** Breaks the connection off. */
  destroy(): void {
    this.#socket.terminate();
  }
}
