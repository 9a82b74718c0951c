// Reads the output of a container from the engine's endless response.
import type { OutputLine } from "../../../process/output-files.ts";
import { LineCutter } from "../../../process/output-lines.ts";

const headerBytes = 8;

/**
 * Yields the lines of a container's output. Without a terminal, the engine sends frames: a byte for the stream, three
 * zeros, and the length as a 32-bit number, big-endian. `isRaw` is true for a container with a terminal, which has no
 * frames. Source: Docker Engine API, ContainerAttach, stream format.
 */
export async function* outputLines(response: AsyncIterable<Buffer>, isRaw: boolean): AsyncGenerator<OutputLine> {
  const cutters = { stdout: new LineCutter(), stderr: new LineCutter() };
  for await (const { stream, bytes } of isRaw ? rawFrames(response) : frames(response)) {
    for (const text of cutters[stream].push(bytes)) yield { stream, text };
  }
  for (const stream of ["stdout", "stderr"] as const) for (const text of cutters[stream].end()) yield { stream, text };
}

/** A part of the output, of any length. */
interface Frame {
  readonly stream: OutputLine["stream"];
  readonly bytes: Buffer;
}

async function* rawFrames(response: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  for await (const bytes of response) yield { stream: "stdout", bytes };
}

/** A frame may be larger than memory should hold, so its parts are passed on as they come. */
async function* frames(response: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let pending: Buffer = Buffer.alloc(0);
  let stream: Frame["stream"] = "stdout";
  let left = 0;
  for await (const chunk of response) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      if (left === 0) {
        if (pending.length < headerBytes) break;
        stream = pending[0] === 2 ? "stderr" : "stdout";
        left = pending.readUInt32BE(4);
        pending = pending.subarray(headerBytes);
      }
      if (pending.length === 0) break;
      const bytes = pending.subarray(0, left);
      left -= bytes.length;
      pending = pending.subarray(bytes.length);
      if (bytes.length > 0) yield { stream, bytes };
    }
  }
}
