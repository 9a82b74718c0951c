// Where this checkout lies on disk.
import { fileURLToPath } from "node:url";

/** Absolute path of a file or folder of the checkout, given relative to its root. */
export function inCheckout(relativePath: string): string {
  return fileURLToPath(new URL(`../../${relativePath}`, import.meta.url));
}
