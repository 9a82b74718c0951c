// The loopback listener that engines connect to. The worker sends an engine the reason for its end. An engine sends a
// receipt when it has reported the end of its flow run. Without the listener, engines take a cancellation for a crash.
// Source: prefect runner/_control_channel.py.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import {
  type EngineMessage,
  EngineMessageReader,
  encodeHelloReply,
  encodeIntent,
  type Intent,
  type ReportedState,
  receiptReply,
} from "./control-frames.ts";

/** A connection without a token is closed after this time. */
const tokenTimeoutMs = 5_000;
/** The engine only stores the intent, so it acknowledges at once. */
const acknowledgeTimeoutMs = 1_000;

/** What became of an intent: acknowledged, too late because the engine has reported an end, or perhaps not received. */
export type IntentOutcome = "acknowledged" | "already concluded" | "not acknowledged";

/** The worker's side of the channel to one child. Disposing it invalidates its token and closes its connection. */
export class ControlledChild implements Disposable {
  readonly token = randomBytes(16).toString("hex");
  #socket: Socket | undefined;
  #intent: Intent | undefined;
  #hasReceipts = false;
  #conclusion: Intent | "receipt" | undefined;
  #reported: ReportedState | undefined;
  #onChange: () => void = () => {};
  #onConnected: () => void = () => {};

  constructor(
    readonly port: number,
    private readonly unregister: () => void,
  ) {}

  /** The variables by which the child finds the listener and identifies itself. */
  get environment(): Record<string, string> {
    return { PREFECT__CONTROL_PORT: String(this.port), PREFECT__CONTROL_TOKEN: this.token };
  }

  /** Resolves when the engine connects, which it does when it begins to execute the flow. */
  readonly connected: Promise<void> = new Promise((resolve) => {
    this.#onConnected = resolve;
  });

  /** Why the engine will report nothing more: its receipt, or an intent that it acknowledged. Undefined until then. */
  get conclusion(): Intent | "receipt" | undefined {
    return this.#conclusion;
  }

  /** The state that the receipt names; undefined without a receipt, or if the receipt names none. */
  get reported(): ReportedState | undefined {
    return this.#reported;
  }

  /** Sends the engine the reason for the SIGTERM that follows. Waits at most a second for its acknowledgement. */
  async sendIntent(intent: Intent): Promise<IntentOutcome> {
    if (this.#conclusion) return "already concluded";
    if (!this.#socket || this.#intent) return "not acknowledged";
    this.#intent = intent;
    const changed = new Promise<void>((resolve) => {
      this.#onChange = resolve;
      setTimeout(resolve, acknowledgeTimeoutMs).unref();
    });
    this.#socket.write(encodeIntent(intent));
    await changed;
    const conclusion: Intent | "receipt" | undefined = this.#conclusion;
    if (conclusion === "receipt") return "already concluded";
    return conclusion === undefined ? "not acknowledged" : "acknowledged";
  }

  /** Uses a connection that has sent the token of this child. */
  attach(socket: Socket): void {
    this.#socket = socket;
    this.#onConnected();
    socket.once("close", () => {
      this.#socket = undefined;
      this.#onChange();
    });
  }

  /** Handles a message. Returns false when the connection has to be closed. The first conclusion stands. */
  handle(message: EngineMessage): boolean {
    switch (message.kind) {
      case "hello":
        this.#hasReceipts = message.version >= 2 && (message.capabilities & 1) === 1;
        this.#socket?.write(encodeHelloReply(message));
        return true;
      case "acknowledged":
        if (this.#intent) this.#conclude(this.#intent);
        return false;
      case "receipt":
        if (this.#hasReceipts && this.#conclude("receipt")) {
          this.#reported = message.state;
          this.#socket?.end(receiptReply);
        }
        return false;
      case "token":
      case "malformed":
        return false;
    }
  }

  [Symbol.dispose](): void {
    this.unregister();
    this.#socket?.destroy();
  }

  #conclude(conclusion: Intent | "receipt"): boolean {
    if (this.#conclusion) return false;
    this.#conclusion = conclusion;
    this.#onChange();
    return true;
  }
}

/** The listener for all children of one program. Disposing it closes all connections. */
export class ControlChannel implements Disposable {
  readonly #children = new Map<string, ControlledChild>();
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly port: number,
  ) {
    server.on("connection", (socket) => this.#onConnection(socket));
    // The system may fail to accept a connection, for example without a free file handle. That must not end the worker.
    server.on("error", () => {});
  }

  /** Returns a listener on a free loopback port. Throws a system error when there is none. */
  static async open(): Promise<ControlChannel> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    // Flow runs in flight keep the program alive. The listener must not.
    server.unref();
    return new ControlChannel(server, (server.address() as AddressInfo).port);
  }

  /** Returns the worker's side of the channel for a child that is about to be started. */
  register(): ControlledChild {
    const child: ControlledChild = new ControlledChild(this.port, () => this.#children.delete(child.token));
    this.#children.set(child.token, child);
    return child;
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    const reader = new EngineMessageReader();
    let child: ControlledChild | undefined;
    const tooLate = setTimeout(() => socket.destroy(), tokenTimeoutMs);
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(tooLate);
      this.#sockets.delete(socket);
    });
    socket.on("data", (chunk) => {
      for (const message of reader.push(chunk)) {
        if (!child && message.kind === "token") {
          child = this.#children.get(message.token);
          // A token works once, so that no other program can connect in the child's place.
          this.#children.delete(message.token);
          clearTimeout(tooLate);
          child?.attach(socket);
          if (child) continue;
        }
        if (child?.handle(message)) continue;
        socket.destroySoon();
        return;
      }
    });
  }
}
