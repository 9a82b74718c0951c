/** A text as the value of a header: Node takes it as Latin-1, the API and what is before it read UTF-8. */
export function utf8Header(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
