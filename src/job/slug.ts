// Makes names part of resource ids and of container names, exactly as the reference does, so that automations match both
// workers. Source: prefect workers/base.py get_name_slug; python-slugify 9, slugify/_legacy.py slugify.

/** Which slug is made. */
export interface SlugOptions {
  /** The characters that stay, as the content of a character class without the dash. */
  readonly kept: string;
  readonly isLowerCase: boolean;
  /** The longest slug in characters; null for no limit. */
  readonly maxLength: number | null;
}

const resourceId: SlugOptions = { kept: "a-z0-9", isLowerCase: true, maxLength: null };

/**
 * Returns the name as ASCII words joined by dashes, in lower case unless `options` say otherwise. Letters of other scripts
 * are transliterated. The tables for that are loaded only when a name has such letters.
 */
export async function slugify(name: string, options = resourceId): Promise<string> {
  const { kept, isLowerCase, maxLength } = options;
  const decomposed = name.replace(/'+/g, "-").normalize("NFKD");
  const ascii = await toAscii(decomposed);
  const decoded = decodeEntities(ascii).normalize("NFKD");
  const slug = (isLowerCase ? decoded.toLowerCase() : decoded)
    .replace(/'+/g, "")
    .replace(/(?<=\d),(?=\d)/g, "")
    .replace(new RegExp(`[^-${kept}]+`, "g"), "-")
    .replace(/-{2,}/g, "-")
    .replace(/^-+|-+$/g, "");
  return slug.slice(0, maxLength ?? slug.length).replace(/-+$/, "");
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
