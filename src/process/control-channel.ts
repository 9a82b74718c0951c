// The loopback listener that engines connect to: it tells them why they will be ended, and they tell that they have
// reported the end of their flow run themselves. Without it everything works but the hooks of a cancelled flow.
// Source: prefect runner/_control_channel.py.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import {
  type EngineMessage,
  EngineMessageReader,
  encodeHelloAnswer,
  encodeIntent,
  type Intent,
  type ReportedState,
  receiptTaken,
} from "./control-frames.ts";

/** A connection without a token is closed after this time. */
const tokenTimeoutMs = 5_000;
/** The engine only notes the intent, so it answers at once. */
const acknowledgeTimeoutMs = 1_000;

/** What became of an intent: taken, too late since the engine has reported an end, or not known to have arrived. */
export type IntentOutcome = "acknowledged" | "already concluded" | "not acknowledged";

/** The worker's end for one child. Disposing it makes its token useless and ends its connection. */
export class ControlledChild implements Disposable {
  readonly token = randomBytes(16).toString("hex");
  #socket: Socket | undefined;
  #intent: Intent | undefined;
  #receipts = false;
  #conclusion: Intent | "receipt" | undefined;
  #reported: ReportedState | undefined;
  #onChange: () => void = () => {};

  constructor(
    readonly port: number,
    private readonly forget: () => void,
  ) {}

  /** What the child finds its way by. */
  get environment(): Record<string, string> {
    return { PREFECT__CONTROL_PORT: String(this.port), PREFECT__CONTROL_TOKEN: this.token };
  }

  /** How the engine's responsibility ended, if it did: by its receipt, or by an intent it acknowledged. */
  get conclusion(): Intent | "receipt" | undefined {
    return this.#conclusion;
  }

  /** The state that the receipt names. */
  get reported(): ReportedState | undefined {
    return this.#reported;
  }

  /** Tells the engine why it is about to get a SIGTERM; waits for its answer for a second at most. */
  async tell(intent: Intent): Promise<IntentOutcome> {
    if (this.#conclusion) return "already concluded";
    if (!this.#socket || this.#intent) return "not acknowledged";
    this.#intent = intent;
    const answered = new Promise<void>((resolve) => {
      this.#onChange = resolve;
      setTimeout(resolve, acknowledgeTimeoutMs).unref();
    });
    this.#socket.write(encodeIntent(intent));
    await answered;
    const conclusion: Intent | "receipt" | undefined = this.#conclusion;
    if (conclusion === "receipt") return "already concluded";
    return conclusion === undefined ? "not acknowledged" : "acknowledged";
  }

  /** Takes over a connection that has shown the token. */
  attach(socket: Socket): void {
    this.#socket = socket;
    socket.once("close", () => {
      this.#socket = undefined;
      this.#onChange();
    });
  }

  /** Acts on a message; false when the connection is to be closed. The first conclusion stands. */
  take(message: EngineMessage): boolean {
    switch (message.kind) {
      case "hello":
        this.#receipts = message.version >= 2 && (message.capabilities & 1) === 1;
        this.#socket?.write(encodeHelloAnswer(message));
        return true;
      case "acknowledged":
        if (this.#intent) this.#conclude(this.#intent);
        return false;
      case "receipt":
        if (this.#receipts && this.#conclude("receipt")) {
          this.#reported = message.state;
          this.#socket?.end(receiptTaken);
        }
        return false;
      case "token":
      case "malformed":
        return false;
    }
  }

  [Symbol.dispose](): void {
    this.forget();
    this.#socket?.destroy();
  }

  #conclude(conclusion: Intent | "receipt"): boolean {
    if (this.#conclusion) return false;
    this.#conclusion = conclusion;
    this.#onChange();
    return true;
  }
}

/** The listener of one worker. Disposing it closes all connections. */
export class ControlChannel implements Disposable {
  readonly #children = new Map<string, ControlledChild>();
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly port: number,
  ) {
    server.on("connection", (socket) => this.#onConnection(socket));
    // A connection that the system could not hand over (no memory, no handle) is its engine's loss, not the worker's end.
    server.on("error", () => {});
  }

  /** Listens on a free loopback port. Throws when there is none. */
  static async open(): Promise<ControlChannel> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    // Flow runs in flight keep the program alive, not this.
    server.unref();
    return new ControlChannel(server, (server.address() as AddressInfo).port);
  }

  /** A place for a child that is about to be started. */
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
          // A token works once: nobody else can take the child's place.
          this.#children.delete(message.token);
          clearTimeout(tooLate);
          child?.attach(socket);
          if (child) continue;
        }
        if (child?.take(message)) continue;
        socket.destroySoon();
        return;
      }
    });
  }
}
