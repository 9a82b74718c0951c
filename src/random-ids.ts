// Random ids that need not be secret. Loading node:crypto for them would take longer than the first request.

/** Returns that many random hexadecimal digits. */
export function randomHex(digits: number): string {
  return Array.from({ length: digits }, () => Math.floor(Math.random() * 16).toString(16)).join("");
}

/** Returns a UUID of version 4. Source: RFC 9562 section 5.4. */
export function randomUuid(): string {
  return `${randomHex(8)}-${randomHex(4)}-4${randomHex(3)}-8${randomHex(3)}-${randomHex(12)}`;
}
