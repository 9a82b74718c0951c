// Compares releases of Prefect.

/** Returns whether `version` ("3.6.27", "3.9.1.dev2+g1") is `least` or later. Suffixes do not count. */
export function isAtLeast(version: string, least: string): boolean {
  const numbers = (text: string): number[] => (text.match(/\d+/g) ?? []).slice(0, 3).map(Number);
  const [own, other] = [numbers(version), numbers(least)];
  for (let part = 0; part < 3; part++) {
    const difference = (own[part] ?? 0) - (other[part] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
