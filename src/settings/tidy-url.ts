// URLs as lictor sends requests to them, so that flow runs are handed the same URL.

/**
 * Returns an HTTP URL in the form in which Node.js understands it: no white space around or line breaks within, a lower
 * case scheme and host, no slash at the end. User and password stay. Any other text only loses the white space around.
 * Python's HTTP client is stricter than Node.js, so a flow run fails on some texts that lictor can connect to.
 */
export function tidyUrl(text: string): string {
  const trimmed = text.trim();
  const url = URL.canParse(trimmed) ? new URL(trimmed) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) return trimmed;
  if (url.search !== "" || url.hash !== "") return trimmed;
  // A lone `?` or `#` is neither, and goes only this way.
  url.search = "";
  url.hash = "";
  return url.href.replace(/\/+$/, "");
}
