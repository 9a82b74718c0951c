// What a work pool may be called.

/** Returns whether the text can be the name of a work pool. The server would take other texts for other routes. */
export function isPoolName(text: string): boolean {
  return text.trim() !== "" && !/[/%&><\p{Cc}]/u.test(text);
}
