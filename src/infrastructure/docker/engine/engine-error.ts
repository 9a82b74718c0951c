// What can go wrong between lictor and a container engine.

/** A response of the engine that is no success. The message is the engine's own text. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  constructor(
    readonly status: number,
    /** What the engine answered, without a line end. Secrets in it may be hidden later. */
    public text: string,
    /** What was asked, such as `POST /containers/create`. It has no query, because a query may hold much. */
    readonly call: string,
  ) {
    super(`${text} (${call}: ${status})`);
  }
}

/** The engine cannot be reached now. It may be restarted, so this says nothing about its containers. */
export class EngineUnreachableError extends Error {
  override readonly name = "EngineUnreachableError";
  constructor(
    /** Where the engine should be, as `DOCKER_HOST` would name it. */
    readonly host: string,
    /** The system's code, such as `ENOENT`, or what happened instead of a response. */
    readonly code: string,
    options?: ErrorOptions,
  ) {
    super(`Cannot reach the Docker engine at ${host} (${code}).${adviceOf(code, options?.cause)}`, options);
  }
}

const untrusted =
  "Its certificate is not trusted. Put the certificate of its authority into ca.pem in DOCKER_CERT_PATH.";

const unidentified =
  "It asks for a certificate that it trusts. Put cert.pem and key.pem of its authority into DOCKER_CERT_PATH.";

/** What answers there speaks another language than Docker's. */
export const noEngine = "no Docker engine";

const advice: Readonly<Record<string, string>> = {
  ENOENT: "There is no such socket. Start Docker, or set DOCKER_HOST.",
  ECONNREFUSED: "Nothing listens there. Start Docker, or set DOCKER_HOST.",
  EACCES: "This user may not use the socket. Add the user to the group docker, or set DOCKER_HOST.",
  EPERM: "This user may not use the socket. Add the user to the group docker, or set DOCKER_HOST.",
  ENOTFOUND: "Its host name is not known. Correct DOCKER_HOST.",
  EPROTO: "It does not speak TLS. Unset DOCKER_TLS_VERIFY and use tcp://, or use the engine's port for TLS.",
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  CERT_SIGNATURE_FAILURE: untrusted,
  CERT_HAS_EXPIRED: "Its certificate has expired. Renew it.",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: unidentified,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: unidentified,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: unidentified,
  ERR_TLS_CERT_ALTNAME_INVALID: "Its certificate is for another host name. Use that name in DOCKER_HOST.",
  [noEngine]: "Something else answers there. Correct DOCKER_HOST.",
  ETIMEDOUT: "Its machine does not answer. Check the network and DOCKER_HOST.",
};

function adviceOf(code: string, cause: unknown): string {
  // An alert proves that TLS is spoken there. With TLS 1.2, Node.js has no code of its own for it.
  if (code === "EPROTO" && cause instanceof Error && /\balert\b/.test(cause.message)) return ` ${unidentified}`;
  if (/HTTPS server/i.test(code)) return " It speaks TLS only. Set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH.";
  return advice[code] === undefined ? "" : ` ${advice[code]}`;
}

/** Where the engine is cannot be read from the environment. The message says what to do. */
export class EngineAddressError extends Error {
  override readonly name = "EngineAddressError";
}

/** Returns whether the engine answered that there is no such thing. Podman sends 500 for a missing container. */
export function isMissing(error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  return error.status === 404 || /no such container/i.test(error.text);
}

/** The request was not sent, because there was no connection. */
const unconnected: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED", "EACCES", "EPERM", "ENOTFOUND"]);

/** Returns whether the engine may execute a request that failed so. Each request has a connection of its own. */
export function mayHaveArrived(error: unknown): boolean {
  return error instanceof EngineUnreachableError && !unconnected.has(error.code);
}

/** Returns whether the engine could not answer now and may do so later: it is away, or it is starting or ending. */
export function isAway(error: unknown): boolean {
  return error instanceof EngineUnreachableError || (error instanceof EngineError && error.status === 503);
}
