// Finds the command that was probably meant by an unknown one.

/** A candidate may differ by one letter in this many. */
const lettersPerMistake = 3;

/**
 * Returns the command that resembles the typed words most: as a whole, such as `worker strat`, or by its last word alone,
 * such as `drain`. `commands` are full commands without the program's name. Returns undefined if none is near.
 */
export function nearestCommand(
  unknown: string,
  words: readonly string[],
  commands: readonly string[],
): string | undefined {
  const at = words.indexOf(unknown);
  const before = words
    .slice(0, at)
    .filter((word, index) => ![word, words[index - 1]].some((each) => each?.startsWith("-")));
  let nearest: string | undefined;
  let leastRatio = 1 / lettersPerMistake;
  for (const command of commands) {
    const parts = command.split(" ");
    const typed = [...before, ...words.slice(at)].slice(0, parts.length).join(" ");
    const asWhole = parts.length > before.length ? ratioOf(typed, command) : 1;
    const ratio = Math.min(asWhole, ratioOf(unknown, parts.at(-1) ?? ""));
    // Of equals, the first in the order of the help is taken.
    if (ratio > leastRatio || (ratio === leastRatio && nearest !== undefined)) continue;
    nearest = command;
    leastRatio = ratio;
  }
  return nearest;
}

function ratioOf(typed: string, meant: string): number {
  return editDistance(typed, meant) / Math.max(typed.length, meant.length, 1);
}

/** Returns how many letters must be inserted, removed, replaced or swapped with their neighbour. */
function editDistance(one: string, other: string): number {
  const rows = [Array.from({ length: other.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const replaced = at(rows, i - 1, j - 1) + (one[i - 1] === other[j - 1] ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      const swapped = isSwapped ? at(rows, i - 2, j - 2) + 1 : replaced;
      row.push(Math.min(replaced, swapped, at(rows, i - 1, j) + 1, (row[j - 1] ?? 0) + 1));
    }
    rows.push(row);
  }
  return at(rows, one.length, other.length);
}

function at(rows: readonly number[][], i: number, j: number): number {
  return rows[i]?.[j] ?? 0;
}
