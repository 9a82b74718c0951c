// The worker's end of the control channel, against engines that are sockets in this test.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { ControlChannel, type ControlledChild } from "../../src/process/control-channel.ts";
import { type EngineMessage, EngineMessageReader } from "../../src/process/control-frames.ts";
import { fuzzFrom } from "../support/fuzz.ts";
import { randomFrom } from "../support/random.ts";
import { waitFor } from "../support/wait-for.ts";

const HELLO = Buffer.from([0x00, 0x50, 0x46, 0x02, 0x01]);

function receipt(payload: unknown): Buffer {
  const body = Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(body.length);
  return Buffer.concat([Buffer.from([1]), size, body]);
}

const REPORTED = receipt({
  disposition: "STATE_REPORTED",
  state_id: "0192b5a0-0000-7000-8000-000000000000",
  state_type: "COMPLETED",
  state_name: "Completed",
});

/** An engine that has shown its token; what it reads is collected. */
async function connectEngine(child: ControlledChild): Promise<Disposable & { socket: Socket; received: () => string }> {
  const socket = connect(child.port, "127.0.0.1");
  let received = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
  });
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(`${child.token}\n`);
  return { socket, received: () => received.toString("hex"), [Symbol.dispose]: () => socket.destroy() };
}

async function until(what: string, predicate: () => boolean): Promise<void> {
  await waitFor(predicate, { timeoutMs: 2_000, what, intervalMs: 5 });
}

describe("the control channel", () => {
  test("gives each child its own token, by the two variables an engine looks for", async () => {
    using channel = await ControlChannel.open();
    const [first, second] = [channel.register(), channel.register()];
    expect(first.environment).toEqual({
      PREFECT__CONTROL_PORT: String(first.port),
      PREFECT__CONTROL_TOKEN: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
    expect(first.token).not.toBe(second.token);
  });

  test("answers a hello of version 2 and takes a receipt as the conclusion", async () => {
    using channel = await ControlChannel.open();
    using child = channel.register();
    using engine = await connectEngine(child);
    engine.socket.write(HELLO);
    await until("the answer", () => engine.received() === "0050460201");
    // In pieces, as a network may deliver it.
    for (const byte of REPORTED) engine.socket.write(Buffer.from([byte]));
    await until("the receipt to be taken", () => engine.received() === "005046020102");
    expect(child.conclusion).toBe("receipt");
    expect(child.reported).toEqual({ type: "COMPLETED", name: "Completed" });
    expect(await child.sendIntent("cancel")).toBe("already concluded");
  });

  test("answers an older hello with version 1, without receipts", async () => {
    using channel = await ControlChannel.open();
    using child = channel.register();
    using engine = await connectEngine(child);
    engine.socket.write(Buffer.from([0x00, 0x50, 0x46, 0x01, 0x00]));
    await until("the answer", () => engine.received() === "0050460100");
    engine.socket.write(REPORTED);
    await once(engine.socket, "close");
    expect(child.conclusion).toBeUndefined();
  });

  test("tells an intent and takes its acknowledgement as the conclusion", async () => {
    using channel = await ControlChannel.open();
    using child = channel.register();
    using engine = await connectEngine(child);
    engine.socket.on("data", (chunk) => chunk.toString() === "c" && engine.socket.write("a"));
    // Not before the channel has seen the token.
    engine.socket.write(HELLO);
    await until("the answer to the hello", () => engine.received() !== "");
    expect(await child.sendIntent("cancel")).toBe("acknowledged");
    expect(child.conclusion).toBe("cancel");
  });

  test.each([
    ["an engine that never connected", false],
    ["an engine that does not answer", true],
  ])("gives up on %s within a second or so", async (_, connected) => {
    using channel = await ControlChannel.open();
    using child = channel.register();
    using engine = connected ? await connectEngine(child) : undefined;
    engine?.socket.write(HELLO);
    if (engine) await until("the answer to the hello", () => engine.received() !== "");
    expect(await child.sendIntent("cancel")).toBe("not acknowledged");
    expect(child.conclusion).toBeUndefined();
  });

  test("closes a connection with an unknown, a used or a disposed token", async () => {
    using channel = await ControlChannel.open();
    const child = channel.register();
    using first = await connectEngine(child);
    using second = await connectEngine(child);
    await once(second.socket, "close");
    expect(first.socket.destroyed).toBe(false);
    child[Symbol.dispose]();
    await once(first.socket, "close");
    using late = await connectEngine(child);
    await once(late.socket, "close");
  });

  test("survives an acknowledgement nobody asked for", async () => {
    using channel = await ControlChannel.open();
    using child = channel.register();
    using engine = await connectEngine(child);
    engine.socket.write("a");
    await once(engine.socket, "close");
    expect(child.conclusion).toBeUndefined();
  });
});

describe("10,000 random and mutated streams", () => {
  test("neither throw nor make a receipt of what is none", () => {
    const random = randomFrom(20261123);
    const pick = (count: number): number => Math.floor(random() * count);
    for (let round = 0; round < 10_000; round++) {
      const stream = Buffer.concat([Buffer.from("token\n"), HELLO, REPORTED, Buffer.from("a")]);
      const mutated = round % 2 === 0 ? Buffer.from(Array.from({ length: pick(64) }, () => pick(256))) : stream;
      for (let change = pick(4); round % 2 === 1 && change >= 0; change--) mutated[pick(mutated.length)] = pick(256);
      const reader = new EngineMessageReader();
      const messages: EngineMessage[] = [];
      for (let at = 0; at < mutated.length; ) {
        const size = 1 + pick(9);
        messages.push(...reader.push(mutated.subarray(at, at + size)));
        if (messages.at(-1)?.kind === "malformed") break;
        at += size;
      }
      for (const message of messages) {
        if (message.kind !== "receipt") continue;
        expect(["STATE_REPORTED", "ORCHESTRATION_ABORTED"]).toContain(message.disposition);
      }
    }
  });

  test("of a receipt too large or no JSON are malformed", () => {
    const read = (bytes: Buffer): EngineMessage[] =>
      new EngineMessageReader().push(Buffer.concat([Buffer.from("t\n"), bytes]));
    expect(read(Buffer.from([1, 0, 0, 0x10, 0x01])).at(-1)).toEqual({ kind: "malformed" });
    expect(read(receipt("{")).at(-1)).toEqual({ kind: "malformed" });
    expect(read(receipt({ disposition: "STATE_REPORTED" })).at(-1)).toEqual({ kind: "malformed" });
    expect(read(receipt({ disposition: "ORCHESTRATION_ABORTED" })).at(-1)).toMatchObject({ kind: "receipt" });
    expect(new EngineMessageReader().push(Buffer.alloc(200, 0x78))).toEqual([{ kind: "malformed" }]);
  });
});

test("1,000 connections of random bytes are closed, and engines are heard as ever", async () => {
  const fuzz = fuzzFrom(20261124);
  using channel = await ControlChannel.open();
  using child = channel.register();
  const hostile = async (): Promise<void> => {
    const socket = connect(child.port, "127.0.0.1");
    socket.on("error", () => {});
    const bytes = Buffer.from(Array.from({ length: fuzz.below(200) }, () => fuzz.below(256)));
    // With a line end the token is whole, and wrong: then the channel closes and not the client.
    const isWhole = fuzz.random() < 0.7;
    if (isWhole) socket.write(Buffer.concat([bytes, Buffer.from("\n"), HELLO]));
    else socket.end(bytes);
    await once(socket.resume(), "close");
  };
  for (let round = 0; round < 50; round++) await Promise.all(Array.from({ length: 20 }, hostile));
  expect(child.conclusion).toBeUndefined();
  using engine = await connectEngine(child);
  engine.socket.write(Buffer.concat([HELLO, REPORTED]));
  await until("the receipt to be taken", () => engine.received() === "005046020102");
  expect(child.reported?.type).toBe("COMPLETED");
  engine.socket.destroy();
  await until("all connections to be gone", () => !process.getActiveResourcesInfo().includes("TCPSocketWrap"));
});
