// Why a TLS connection comes to nothing, and what to do about it, by Node's error code. Pure.

const trustIt = "set PREFECT_API_SSL_CERT_FILE to a PEM file with";
const unknownIssuer = `The certificate is from an authority that is not trusted, or the server does not send its whole chain: let it, or ${trustIt} the authority's certificate.`;
// Node.js has the same code for both, depending on which side notices first.
const noTls =
  "The other side speaks no TLS on this port (is the scheme http?), or no version of it that Node.js takes.";

const causes: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: `The server has signed its certificate itself: ${trustIt} that certificate.`,
  SELF_SIGNED_CERT_IN_CHAIN: `The certificate is from an authority that is not trusted: ${trustIt} the authority's certificate.`,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownIssuer,
  UNABLE_TO_GET_ISSUER_CERT: unknownIssuer,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownIssuer,
  CERT_SIGNATURE_FAILURE: `The certificate is from another authority than the trusted one of the same name: ${trustIt} the right one.`,
  ERR_TLS_CERT_ALTNAME_INVALID:
    "The certificate is for other host names: use one of them in PREFECT_API_URL, or get the server a certificate for this one.",
  CERT_HAS_EXPIRED: "The certificate has expired: renew it on the server, or check the clock of this machine.",
  CERT_NOT_YET_VALID: "The certificate is not valid yet: check the clock of this machine.",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: "The server wants a client certificate, and lictor has none to show.",
  EPROTO: noTls,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  ERR_SSL_UNSUPPORTED_PROTOCOL: noTls,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: noTls,
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: noTls,
};

/** The cause and what to do; undefined for a code that has nothing to do with TLS, and for rare ones. */
export function causeOfTlsFailure(code: string): string | undefined {
  return causes[code];
}

/** What a connection's error says, on one line, and for TLS the cause too. */
export function explainFailure(error: Error): string {
  const { code = error.name, cert } = error as NodeJS.ErrnoException & { cert?: { subjectaltname?: string } };
  // One error for all addresses of a host has no message of its own.
  const text = error instanceof AggregateError ? error.errors.map(String).join("; ") : error.message;
  const message = text.trim().replace(/\s*\n\s*/g, " ") || code;
  const cause = causeOfTlsFailure(code);
  if (!cause) return message;
  const names = cert?.subjectaltname ?? "";
  // Node.js leaves them out where the host is an IP address.
  return `${message.includes(names) ? message : `${message.replace(/[:.]*$/, "")} (${names})`}. ${cause}`;
}
