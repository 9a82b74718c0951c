// Cuts the bytes that a program prints into lines.

/** What a program prints in one go. Longer lines are handed over in pieces, so that no line can fill the memory. */
export const longestLineBytes = 64 * 1024;

const lineEnd = 0x0a;
const carriageReturn = 0x0d;

/** Collects the bytes of one stream. Bytes that are not UTF-8 become replacement characters. */
export class LineCutter {
  #pending: Buffer = Buffer.alloc(0);

  /** How many bytes wait for the end of their line. */
  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** The lines that `chunk` completes, without their ends. */
  push(chunk: Buffer): string[] {
    let rest = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const lines: string[] = [];
    for (;;) {
      const end = rest.indexOf(lineEnd);
      if (end !== -1 && end <= longestLineBytes) {
        lines.push(decode(rest.subarray(0, end)));
        rest = rest.subarray(end + 1);
      } else if (rest.length > longestLineBytes) {
        const cut = characterStart(rest, longestLineBytes);
        lines.push(decode(rest.subarray(0, cut)));
        rest = rest.subarray(cut);
      } else {
        break;
      }
    }
    // A copy: the chunk's memory is the caller's.
    this.#pending = Buffer.from(rest);
    return lines;
  }

  /** The last line, where the program has not ended it. */
  end(): string[] {
    const rest = this.#pending;
    this.#pending = Buffer.alloc(0);
    return rest.length > 0 ? [decode(rest)] : [];
  }
}

function decode(line: Buffer): string {
  const length = line.at(-1) === carriageReturn ? line.length - 1 : line.length;
  return line.toString("utf8", 0, length);
}

/** The start of the character that the byte at `index` belongs to; four bytes are the longest one. */
function characterStart(bytes: Buffer, index: number): number {
  for (let start = index; start > index - 4; start--) {
    if (((bytes[start] ?? 0) & 0xc0) !== 0x80) return start;
  }
  return index;
}
