// Finds out what stands at the end of an incomplete command line: a command, an option, or the value of one.
import type { Command, Option } from "commander";

/** What is to be completed. */
export interface Place {
  /** The last command that is complete. */
  command: Command;
  /** The text so far. It may be empty. */
  current: string;
  /** The option whose value is wanted, or null. */
  option: Option | null;
  /** How many arguments of the command stand before the place. */
  argumentsBefore: number;
  /** True after `--`: what follows are no options. */
  isAfterDashes: boolean;
  /** The values of the options before the place, by the attribute names of commander. */
  given: ReadonlyMap<string, readonly string[]>;
}

/** Returns the place behind these words, of which the last one is not complete. */
export function findPlace(program: Command, words: readonly string[]): Place {
  const { complete, current } = joinEquals(words);
  const given = new Map<string, string[]>();
  const place: Place = { command: program, current, option: null, argumentsBefore: 0, isAfterDashes: false, given };
  for (const word of complete) step(place, given, word);
  const [, flag, value] = /^(--[^=]+)=(.*)$/s.exec(current) ?? [];
  const withValue = flag === undefined || place.option ? undefined : findOption(place.command, flag);
  return withValue && takesValue(withValue) ? { ...place, option: withValue, current: value ?? "" } : place;
}

/** Moves the place behind one more complete word. */
function step(place: Place, given: Map<string, string[]>, word: string): void {
  if (place.option) {
    remember(given, place.option, word);
    place.option = null;
    return;
  }
  if (word === "--") place.isAfterDashes = true;
  else if (word.startsWith("-") && !place.isAfterDashes) {
    const [, flag = word, value] = /^(--[^=]+)=(.*)$/s.exec(word) ?? [];
    const option = findOption(place.command, flag);
    if (!option || !takesValue(option)) return;
    if (value === undefined) place.option = option;
    else remember(given, option, value);
    return;
  }
  const subcommand = place.command.commands.find((each) => each.name() === word || each.aliases().includes(word));
  if (subcommand) place.command = subcommand;
  else place.argumentsBefore++;
}

function remember(given: Map<string, string[]>, option: Option, value: string): void {
  given.set(option.attributeName(), [...(given.get(option.attributeName()) ?? []), value]);
}

function findOption({ options }: Command, flag: string): Option | undefined {
  return options.find(({ long, short }) => flag === long || flag === short);
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

/** Joins `--option`, `=` and a value, because bash takes them for three words. Returns the complete words and the last one. */
function joinEquals(words: readonly string[]): { complete: string[]; current: string } {
  const joined: string[] = [];
  for (const [index, word] of words.entries()) {
    const isPartOfOption = word === "=" || words[index - 1] === "=";
    if (isPartOfOption && joined.at(-1)?.startsWith("--")) {
      if (word !== "=") joined.push(word);
    } else joined.push(word);
  }
  const isBeforeValue = words.at(-1) === "=" && words.length > 1;
  return isBeforeValue
    ? { complete: joined, current: "" }
    : { complete: joined.slice(0, -1), current: joined.at(-1) ?? "" };
}
