// Splits the bytes that a program prints into lines.

/** The longest line in bytes. Longer lines are split, so that one line cannot fill the memory. */
export const longestLineBytes = 64 * 1024;

const lineEnd = 0x0a;
const carriageReturn = 0x0d;

/** Collects the bytes of one stream. Bytes that are not UTF-8 become replacement characters. */
export class LineCutter {
  #pending: Buffer = Buffer.alloc(0);

  /** How many bytes belong to a line whose end has not arrived. */
  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** Returns the lines that `chunk` completes, without their line ends. */
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
    // A copy, because the caller reuses the chunk's memory.
    this.#pending = Buffer.from(rest);
    return lines;
  }

  /** Returns the last line if it has no line end. */
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

/** Returns the index of the first byte of the character at `index`. A UTF-8 character has at most four bytes. */
function characterStart(bytes: Buffer, index: number): number {
  for (let start = index; start > index - 4; start--) {
    if (((bytes[start] ?? 0) & 0xc0) !== 0x80) return start;
  }
  return index;
}
