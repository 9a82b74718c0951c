// The likely causes of failed TLS connections, and what to do, by Node's error code. Pure.

const trustIt = "set PREFECT_API_SSL_CERT_FILE to a PEM file with";
const unknownIssuer = `The certificate is from an authority that is not trusted, or the server does not send its whole certificate chain: configure the server to send it, or ${trustIt} the authority's certificate.`;
// Node.js has the same codes for both causes. The code depends on which side notices first.
const noTls =
  "The other side speaks no TLS on this port (is the scheme http?), or only a TLS version that Node.js does not support.";

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
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: "The server requires a client certificate, which lictor does not support.",
  EPROTO: noTls,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  ERR_SSL_UNSUPPORTED_PROTOCOL: noTls,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: noTls,
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: noTls,
};

/** Returns the cause and what to do. Returns undefined for codes that are rare or not about TLS. */
export function causeOfTlsFailure(code: string): string | undefined {
  return causes[code];
}

/** Returns the message of a connection error on one line. Adds the likely cause for TLS errors. */
export function explainFailure(error: Error): string {
  const { code = error.name, cert } = error as NodeJS.ErrnoException & { cert?: { subjectaltname?: string } };
  // Node.js joins the errors of all addresses of a host into an AggregateError, which has no message.
  const text = error instanceof AggregateError ? error.errors.map(String).join("; ") : error.message;
  const message = text.trim().replace(/\s*\n\s*/g, " ") || code;
  const cause = causeOfTlsFailure(code);
  if (!cause) return message;
  const names = cert?.subjectaltname ?? "";
  // Node.js does not name them if the host is an IP address.
  return `${message.includes(names) ? message : `${message.replace(/[:.]*$/, "")} (${names})`}. ${cause}`;
}
