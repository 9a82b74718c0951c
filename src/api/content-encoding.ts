// Decompresses response bodies. Some proxies compress them although lictor asks for `identity`.
import { promisify } from "node:util";

/**
 * Returns the decompressed body. `encoding` is the header Content-Encoding: gzip, deflate, br, or several of them. The
 * body stays as it is for any other encoding. Throws an error with code ERR_BUFFER_TOO_LARGE beyond `maxBytes`, and the
 * error of node:zlib for a damaged body.
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
  // The last encoding in the header was applied last.
  for (const name of names.reverse()) {
    if (name === "gzip" || name === "x-gzip") decoded = await promisify(zlib.gunzip)(decoded, options);
    else if (name === "br") decoded = await promisify(zlib.brotliDecompress)(decoded, options);
    // Some servers send deflate with a zlib header, whose first byte ends in 8, and some without.
    else if (name === "deflate" && ((decoded[0] ?? 0) & 0x0f) === 8)
      decoded = await promisify(zlib.inflate)(decoded, options);
    else if (name === "deflate") decoded = await promisify(zlib.inflateRaw)(decoded, options);
  }
  return decoded;
}
