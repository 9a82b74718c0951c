// Makes a worker's name part of a resource id, exactly as the reference does, so that automations match both workers.
// Source: prefect workers/base.py get_name_slug; python-slugify 9, slugify/_legacy.py slugify.

/**
 * Returns the name as lower-case ASCII words joined by dashes. Letters of other scripts are transliterated. The tables for
 * that are loaded only when a name has such letters.
 */
export async function slugify(name: string): Promise<string> {
  const decomposed = name.replace(/'+/g, "-").normalize("NFKD");
  const ascii = await toAscii(decomposed);
  return decodeEntities(ascii)
    .normalize("NFKD")
    .toLowerCase()
    .replace(/'+/g, "")
    .replace(/(?<=\d),(?=\d)/g, "")
    .replace(/[^-a-z0-9]+/g, "-")
    .replace(/-{2,}/g, "-")
    .replace(/^-+|-+$/g, "");
}

async function toAscii(decomposed: string): Promise<string> {
  // Latin letters with accents need no table, because their accents are removed.
  const plain = decomposed.replace(/[\u0300-\u036f]/g, "");
  if (/^\p{ASCII}*$/u.test(plain)) return plain;
  const { transliterate } = await import("./transliterate.ts");
  return transliterate(decomposed);
}

/** Decodes numeric character references. Named ones of punctuation become a dash; others stay. */
function decodeEntities(text: string): string {
  return text
    .replace(/&(amp|lt|gt|quot|nbsp);/g, "-")
    .replace(/&#(\d+);/g, (whole, digits: string) => fromCodePoint(whole, Number(digits)))
    .replace(/&#x([\da-fA-F]+);/gi, (whole, digits: string) => fromCodePoint(whole, Number.parseInt(digits, 16)));
}

function fromCodePoint(whole: string, code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
}
