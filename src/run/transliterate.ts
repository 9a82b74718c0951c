// Letters of all scripts in ASCII. Loaded only for a worker's name that needs it, because the tables are large.
import unidecode from "unidecode";

/**
 * Returns the text in ASCII, by the tables of Text::Unidecode, which python-slugify uses too. Each character is looked up
 * by itself: the package takes two that look like bytes of UTF-8 for one.
 */
export function transliterate(text: string): string {
  return [...text].map((character) => (character <= "\x7f" ? character : unidecode(character))).join("");
}
