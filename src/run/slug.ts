// A worker's name as part of a resource id, exactly as the reference makes it, so that automations find both workers.
// Source: prefect workers/base.py get_name_slug; python-slugify 9, slugify/_legacy.py slugify.

/**
 * Returns the name in lower-case ASCII words joined by dashes. Letters of other scripts are transliterated; their tables
 * are loaded only for a name that has such letters.
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
  // The accents of Latin letters need no table: they are left out.
  const plain = decomposed.replace(/[\u0300-\u036f]/g, "");
  if (/^\p{ASCII}*$/u.test(plain)) return plain;
  const { transliterate } = await import("./transliterate.ts");
  return transliterate(decomposed);
}

/** Character references with a number. Of those with a name, only the ones of punctuation, which become a dash. */
function decodeEntities(text: string): string {
  return text
    .replace(/&(amp|lt|gt|quot|nbsp);/g, "-")
    .replace(/&#(\d+);/g, (whole, digits: string) => fromCodePoint(whole, Number(digits)))
    .replace(/&#x([\da-fA-F]+);/gi, (whole, digits: string) => fromCodePoint(whole, Number.parseInt(digits, 16)));
}

function fromCodePoint(whole: string, code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
}
