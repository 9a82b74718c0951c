// Writes letters of all scripts in ASCII. This file is loaded only when a worker's name needs it: the tables are large.
import unidecode from "unidecode";

/**
 * Returns the text in ASCII, by the tables of Text::Unidecode, which python-slugify uses too. Each character is looked up
 * alone, because the package reads two characters that look like UTF-8 bytes as one.
 */
export function transliterate(text: string): string {
  return [...text].map((character) => (character <= "\x7f" ? character : unidecode(character))).join("");
}
