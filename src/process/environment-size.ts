// Explains why an environment is too large for the system.

const maxNamed = 3;
/** The longest variable or argument on Linux, in bytes: 32 pages. Source: linux/binfmts.h MAX_ARG_STRLEN. */
const longestText = 131_071;

/**
 * Returns the message for a program that could not be started because of the size of its command or its environment. It names
 * an argument that is too long, or the largest variables with their sizes in bytes. It never shows values. `encoded` has the variables that are not UTF-8 in the longer
 * form in which they are passed on.
 */
export function describeLargest(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  encoded: Readonly<Record<string, string>> = {},
): string {
  const names = Object.keys(encoded);
  const reason = names.length === 0 ? "" : ` ${names.join(", ")}: not UTF-8, so up to five times larger at the start.`;
  const sizes = Object.entries({ ...env, ...encoded })
    .map(([name, value]) => ({ name, bytes: Buffer.byteLength(`${name}=${value}`) + 1 }))
    .sort((one, other) => other.bytes - one.bytes);
  const argumentBytes = argv.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0);
  const total = sizes.reduce((sum, { bytes }) => sum + bytes, argumentBytes);
  const longest = Math.max(...argv.map((word) => Buffer.byteLength(word) + 1));
  const largest = sizes.slice(0, maxNamed).map(({ name, bytes }) => `${name} (${bytes.toLocaleString("en")})`);
  return (
    `The environment and the command are too large for the system (E2BIG): ${total.toLocaleString("en")} bytes, ` +
    `${argumentBytes.toLocaleString("en")} of them for the command. ` +
    (longest > longestText ? explainArgument(longest) : `The largest variables: ${largest.join(", ")}. `) +
    `Linux takes ${longestText.toLocaleString("en")} bytes for each, and for all of them a quarter of the stack limit (ulimit -s).${reason}`
  );
}

function explainArgument(bytes: number): string {
  const advice = "Pass the text in a file instead: LICTOR_PARAMETERS_FILE names one with all parameters of a program. ";
  return `The largest argument has ${bytes.toLocaleString("en")} bytes. ${advice}`;
}
