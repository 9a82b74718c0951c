// Reads the file of certificates to trust in place of the root certificates of Node.js.
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Settings } from "./settings.ts";
import { SettingsError } from "./settings-error.ts";

/** The certificates that a connection trusts. `ca` is PEM text, and undefined for the roots of Node.js. */
export interface Trust {
  readonly ca: string | undefined;
  readonly rejectUnauthorized: boolean;
}

/** Returns what to trust. Throws SettingsError when the file cannot be read or does not begin with a certificate. */
export function readTrust({ values, origins }: Settings): Trust {
  if (values.PREFECT_API_TLS_INSECURE_SKIP_VERIFY) return { ca: undefined, rejectUnauthorized: false };
  const file = values.PREFECT_API_SSL_CERT_FILE;
  if (!file) return { ca: undefined, rejectUnauthorized: true };
  const origin = origins.get("PREFECT_API_SSL_CERT_FILE");
  const name = origin ? `PREFECT_API_SSL_CERT_FILE, ${origin.description}` : "SSL_CERT_FILE";
  try {
    const ca = readFileSync(file, "utf8");
    // This throws for anything but a certificate. Node.js would ignore such a file and then trust no server.
    new X509Certificate(ca.slice(Math.max(0, ca.indexOf("-----BEGIN"))));
    return { ca, rejectUnauthorized: true };
  } catch (error) {
    const { code = "", syscall } = error as NodeJS.ErrnoException;
    const found = syscall ? `cannot be read (${code})` : "holds no certificate";
    throw new SettingsError(`${name}: ${file} ${found}, expected a file of certificates in PEM format`, {
      key: "PREFECT_API_SSL_CERT_FILE",
      ...(origin && { origin }),
      cause: error,
    });
  }
}
