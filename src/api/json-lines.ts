// Reads a response that has one JSON object per line.
import { StringDecoder } from "node:string_decoder";
import type { JsonObject } from "./wire.ts";

/** Yields the objects as they arrive. Throws SyntaxError, and the error of a lost connection. */
export async function* jsonLines(response: AsyncIterable<Buffer>): AsyncGenerator<JsonObject> {
  // A line may come in many pieces, which are joined once.
  let pieces: string[] = [];
  const decoder = new StringDecoder("utf8");
  for await (const chunk of response) {
    const [first = "", ...others] = decoder.write(chunk).split("\n");
    pieces.push(first);
    for (const piece of others) {
      const line = pieces.join("");
      pieces = [piece];
      if (line.trim() !== "") yield JSON.parse(line) as JsonObject;
    }
  }
  const last = pieces.join("");
  if (last.trim() !== "") yield JSON.parse(last) as JsonObject;
}
