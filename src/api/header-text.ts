/** Returns `text` for use in a header. Node writes headers as Latin-1, but the API and proxies read them as UTF-8. */
export function utf8Header(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
