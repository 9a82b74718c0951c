// Says in words why there is no connection to an API server, and what to do. Pure.
import type { UnreachableError } from "../../../api/errors.ts";

const untrusted =
  "Its certificate is not from the authority of the kubeconfig. Correct certificate-authority-data, or ask who runs the cluster.";
const noTls = "It speaks no TLS on this port. Check scheme and port of `server` in the kubeconfig.";

const advice: Readonly<Record<string, string>> = {
  ECONNREFUSED: "Nothing listens there. Is the cluster up, and the address right?",
  ENOTFOUND: "Its host name is not known. Check the name and the DNS of this machine.",
  EAI_AGAIN: "The DNS of this machine does not answer.",
  ECONNRESET: "The connection was closed in the middle.",
  ETIMEDOUT: "Its machine does not answer. A firewall, a VPN or a proxy may be missing.",
  RESPONSE_TIMEOUT: "It took the request and does not answer in time.",
  EHOSTUNREACH: "There is no route to it. A VPN may be missing.",
  ENETUNREACH: "There is no route to it. A VPN may be missing.",
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  CERT_SIGNATURE_FAILURE: untrusted,
  ERR_TLS_CERT_ALTNAME_INVALID:
    "Its certificate is for other host names. Use one of them as `server`, or set tls-server-name in the kubeconfig.",
  CERT_HAS_EXPIRED: "Its certificate has expired. Renew it, or check the clock of this machine.",
  CERT_NOT_YET_VALID: "Its certificate is not valid yet. Check the clock of this machine.",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: "It requires a client certificate, and the kubeconfig has none.",
  EPROTO: noTls,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
};

/** Returns one line: what happened, and what to do as far as that is known. */
export function explainConnection({ code, cause }: UnreachableError): string {
  const { message = code } = (cause ?? {}) as Partial<Error>;
  const text = message.replace(/\s+/g, " ").trim().replace(/\.$/, "");
  // The message of a proxy says what to do.
  const known = /^the proxy /.test(text) ? undefined : advice[code];
  const what = text === "" || (known !== undefined && text.includes(code)) ? code : `${text} (${code})`;
  return known === undefined ? `${what}.` : `${what}. ${known}`;
}
