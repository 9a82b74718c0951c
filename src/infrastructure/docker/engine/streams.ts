// Reads the output of a container from the engine's endless response.
import type { OutputLine } from "../../../process/output-files.ts";
import { LineCutter } from "../../../process/output-lines.ts";

const headerBytes = 8;

/** How the engine sends the output. */
export interface OutputForm {
  /** The container has a terminal, so there are no frames. */
  readonly isRaw: boolean;
  /** Each line begins with its time. */
  readonly hasTimes: boolean;
}

/**
 * Yields the lines of a container's output. Without a terminal, the engine sends frames: a byte for the stream, three
 * zeros, and the length as a 32-bit number, big-endian. It cuts long lines (Docker at 16 KiB, Podman at 8 KiB), and then each
 * part is a frame with a time of its own. Source: Docker Engine API, ContainerAttach, stream format.
 */
export async function* outputLines(
  response: AsyncIterable<Buffer>,
  { isRaw, hasTimes }: OutputForm,
): AsyncGenerator<OutputLine> {
  const cutters = { stdout: new LineCutter(), stderr: new LineCutter() };
  for await (const { stream, bytes, isBegin } of isRaw ? rawFrames(response) : frames(response)) {
    const isRest = hasTimes && isBegin && cutters[stream].pendingBytes > 0;
    for (const text of cutters[stream].push(isRest ? withoutTime(bytes) : bytes)) yield { stream, text };
  }
  for (const stream of ["stdout", "stderr"] as const) for (const text of cutters[stream].end()) yield { stream, text };
}

/** A time with nanoseconds, a zone and a space has 36 characters at most. */
const longestTimeBytes = 36;

function withoutTime(bytes: Buffer): Buffer {
  const [time = ""] = /^\d{4}-\d\d-\d\dT\S+ /.exec(bytes.toString("latin1", 0, longestTimeBytes)) ?? [];
  return bytes.subarray(time.length);
}

/** A part of the output, of any length. */
interface Frame {
  readonly stream: OutputLine["stream"];
  readonly bytes: Buffer;
  /** Whether it is the first part of a frame. It then has the whole time. */
  readonly isBegin: boolean;
}

async function* rawFrames(response: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  for await (const bytes of response) yield { stream: "stdout", bytes, isBegin: false };
}

/** A frame may be larger than memory should hold, so its parts are passed on as they come. */
async function* frames(response: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let pending: Buffer = Buffer.alloc(0);
  let stream: Frame["stream"] = "stdout";
  let left = 0;
  let isBegin = false;
  for await (const chunk of response) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      if (left === 0) {
        if (pending.length < headerBytes) break;
        stream = pending[0] === 2 ? "stderr" : "stdout";
        left = pending.readUInt32BE(4);
        isBegin = true;
        pending = pending.subarray(headerBytes);
      }
      if (pending.length < (isBegin ? Math.min(left, longestTimeBytes) : 1)) break;
      const bytes = pending.subarray(0, left);
      left -= bytes.length;
      pending = pending.subarray(bytes.length);
      if (bytes.length > 0) yield { stream, bytes, isBegin };
      isBegin = false;
    }
  }
}
