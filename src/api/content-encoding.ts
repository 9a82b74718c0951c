// Unpacks bodies that a server or a proxy has packed, although lictor asks for none.
import { promisify } from "node:util";

/**
 * Returns the body unpacked as the header Content-Encoding says: gzip, deflate, br, or several of them. Another encoding is left as
 * it is. Throws when the body is none of the kind, and an error with code ERR_BUFFER_TOO_LARGE beyond `maxBytes`.
 */
export async function decodeContent(body: Buffer, encoding: string | undefined, maxBytes: number): Promise<Buffer> {
  const names = (encoding ?? "")
    .toLowerCase()
    .split(",")
    .map((name) => name.trim());
  if (body.length === 0 || names.every((name) => name === "" || name === "identity")) return body;
  const zlib = await import("node:zlib");
  const options = { maxOutputLength: maxBytes };
  let decoded = body;
  // The last one named was applied last.
  for (const name of names.reverse()) {
    if (name === "gzip" || name === "x-gzip") decoded = await promisify(zlib.gunzip)(decoded, options);
    else if (name === "br") decoded = await promisify(zlib.brotliDecompress)(decoded, options);
    // Some servers mean the bare format, some the one with a header, whose first byte ends in 8.
    else if (name === "deflate" && ((decoded[0] ?? 0) & 0x0f) === 8)
      decoded = await promisify(zlib.inflate)(decoded, options);
    else if (name === "deflate") decoded = await promisify(zlib.inflateRaw)(decoded, options);
  }
  return decoded;
}
