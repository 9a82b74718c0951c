// The bytes that a worker and its engine exchange on the control channel. Pure.
// Source: prefect _internal/attempt_control.py, runner/_control_channel.py.

/** Why the worker is about to end the engine. It is sent before SIGTERM. */
export type Intent = "cancel" | "reschedule" | "relinquish";

const intentBytes: Readonly<Record<Intent, string>> = { cancel: "c", reschedule: "r", relinquish: "q" };

/** The state that a receipt names. */
export interface ReportedState {
  type: string;
  name: string;
}

/**
 * One message of the engine. `receipt` says that the engine has reported the end of the flow run. Its `state` is undefined
 * when the server aborted the flow run.
 */
export type EngineMessage =
  | { kind: "token"; token: string }
  | { kind: "hello"; version: number; capabilities: number }
  | { kind: "acknowledged" }
  | { kind: "receipt"; disposition: string; state: ReportedState | undefined }
  | { kind: "malformed" };

const helloPrefix = Buffer.from([0x00, 0x50, 0x46]);
const helloBytes = helloPrefix.length + 2;
const receiptByte = 0x01;
const maxReceiptBytes = 4096;
const maxTokenBytes = 128;

/** Returns the byte of an intent. */
export function encodeIntent(intent: Intent): Buffer {
  return Buffer.from(intentBytes[intent]);
}

/** Returns the reply to a hello: version 2 with receipts if the engine supports both, else version 1. */
export function encodeHelloReply(hello: { version: number; capabilities: number }): Buffer {
  const both = hello.version >= 2 && (hello.capabilities & 1) === 1;
  return Buffer.concat([helloPrefix, Buffer.from(both ? [2, 1] : [1, 0])]);
}

/** The reply to an accepted receipt. */
export const receiptReply: Buffer = Buffer.from([0x02]);

/** Splits the bytes of a connection into messages, independent of chunk borders. The first line is the token. */
export class EngineMessageReader {
  #buffer: Buffer = Buffer.alloc(0);
  #hasToken = false;

  /** Returns the messages that `chunk` completes. A malformed message is the last one; the caller stops reading then. */
  push(chunk: Buffer): EngineMessage[] {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    const messages: EngineMessage[] = [];
    for (let message = this.#next(); message; message = this.#next()) {
      messages.push(message);
      if (message.kind === "malformed") break;
    }
    return messages;
  }

  #next(): EngineMessage | undefined {
    if (!this.#hasToken) return this.#token();
    switch (this.#buffer[0]) {
      case undefined:
        return undefined;
      case 0x61:
        this.#take(1);
        return { kind: "acknowledged" };
      case helloPrefix[0]:
        return this.#hello();
      case receiptByte:
        return this.#receipt();
      default:
        return { kind: "malformed" };
    }
  }

  #take(bytes: number): Buffer {
    const taken = this.#buffer.subarray(0, bytes);
    this.#buffer = this.#buffer.subarray(bytes);
    return taken;
  }

  #token(): EngineMessage | undefined {
    const end = this.#buffer.indexOf("\n");
    if (end > maxTokenBytes || (end === -1 && this.#buffer.length > maxTokenBytes)) return { kind: "malformed" };
    if (end === -1) return undefined;
    this.#hasToken = true;
    return {
      kind: "token",
      token: this.#take(end + 1)
        .toString("latin1")
        .trim(),
    };
  }

  #hello(): EngineMessage | undefined {
    if (this.#buffer.length < helloBytes) return undefined;
    const frame = this.#take(helloBytes);
    if (!frame.subarray(0, helloPrefix.length).equals(helloPrefix)) return { kind: "malformed" };
    return { kind: "hello", version: frame[3] ?? 0, capabilities: frame[4] ?? 0 };
  }

  #receipt(): EngineMessage | undefined {
    if (this.#buffer.length < 5) return undefined;
    const size = this.#buffer.readUInt32BE(1);
    if (size > maxReceiptBytes) return { kind: "malformed" };
    if (this.#buffer.length < 5 + size) return undefined;
    return parseReceipt(this.#take(5 + size).subarray(5));
  }
}

function parseReceipt(payload: Buffer): EngineMessage {
  try {
    const { disposition, state_type: type, state_name: name } = JSON.parse(payload.toString("utf8"));
    if (disposition === "ORCHESTRATION_ABORTED") return { kind: "receipt", disposition, state: undefined };
    if (disposition === "STATE_REPORTED" && typeof type === "string" && type !== "" && typeof name === "string") {
      return { kind: "receipt", disposition, state: { type, name } };
    }
  } catch {
    // Not JSON, so it is malformed.
  }
  return { kind: "malformed" };
}
