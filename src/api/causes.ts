// The likely cause of a refused request, and what to do about it. `lictor doctor` and the errors that end a worker
// share these tables. Pure.

/** The parts of a response outside 2xx that tell its cause. */
export interface Refusal {
  status: number;
  /** The explanation of the Prefect API. Undefined if the body is not one of its errors. */
  detail: string | undefined;
  /** The body is a web page, so something other than the API has answered. */
  isPage: boolean;
  /** The header `Server` of the response. */
  server: string | undefined;
  /** The body. A proxy's error page names some causes that the status does not. */
  body: string;
  /** The path of PREFECT_API_URL. */
  apiPath: string;
  isCloud: boolean;
  /** How the request was authenticated. `custom`: by a header in PREFECT_CLIENT_CUSTOM_HEADERS. */
  scheme: "bearer" | "basic" | "custom" | "none";
}

/** Returns the likely cause of a refused request and what to do, or undefined if the API's explanation is enough. */
export function causeOfRefusal(refusal: Refusal): string | undefined {
  return requestCauses[refusal.status]?.(refusal);
}

const proxyLogin =
  "A proxy wants a user and a password: put them into its URL, HTTPS_PROXY=http://user:password@host:port.";

/** The words of nginx, Go's net/http and Apache. */
const plainOnTls =
  /plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server|speaking plain HTTP to an SSL/i;

const requestCauses: Readonly<Record<number, (refusal: Refusal) => string | undefined>> = {
  400: ({ body }) =>
    plainOnTls.test(body)
      ? "This port takes HTTPS only, and a plain HTTP request was sent to it: PREFECT_API_URL has to begin with https://."
      : undefined,
  401: (refusal) =>
    refusal.isPage
      ? `${proxyName(refusal)} asks for a login of its own; what it wants can go into PREFECT_CLIENT_CUSTOM_HEADERS.`
      : credentialCauses[refusal.scheme](refusal.isCloud),
  403: ({ detail, isCloud, ...rest }) => {
    if (isCloud) return "The key is known, but may not do this in this workspace, or not from this network address.";
    if (detail === undefined) return `${proxyName(rest)} does not let the request through: ask who runs it.`;
    if (detail.includes("CSRF"))
      return "Leave PREFECT_CLIENT_CSRF_SUPPORT_ENABLED on. Several servers behind one address have to share one database, which keeps the tokens.";
    return "The server took the credentials and refuses the request itself.";
  },
  404: missingRoute,
  407: () => proxyLogin,
  426: (refusal) =>
    `${proxyName(refusal)} takes another protocol only, HTTPS or HTTP/2: check scheme and port of PREFECT_API_URL.`,
  502: (refusal) => gatewayCause(refusal, "gives it no proper answer"),
  503: (refusal) => gatewayCause(refusal, "is down or not ready"),
  504: (refusal) => gatewayCause(refusal, "does not answer it in time"),
};

/** Explains a 404. Without an explanation from the API, something else has answered. */
function missingRoute({ detail, server, apiPath, isCloud }: Refusal): string | undefined {
  if (detail === undefined) {
    const who = server ? `\`${server.slice(0, 40)}\`` : "Something other than the Prefect API";
    return `There is no such route here: ${who} has answered. Behind a proxy, PREFECT_API_URL may need a path prefix, as in https://HOST/PREFIX/api. ${urlShapes}`;
  }
  if (detail !== "Not Found") return undefined;
  if (isCloud || !/\/api$/.test(apiPath)) return `There is no such route here. ${urlShapes}`;
  return "There is no such route here, although PREFECT_API_URL ends in /api: the server is of another release, serves its API under a path prefix (https://HOST/PREFIX/api), or is no Prefect server.";
}

const urlShapes =
  "PREFECT_API_URL of a self-hosted server ends in /api, of Prefect Cloud in /api/accounts/ACCOUNT_ID/workspaces/WORKSPACE_ID.";

const credentialCauses: Readonly<Record<Refusal["scheme"], (isCloud: boolean) => string>> = {
  none: (isCloud) =>
    isCloud ? "Set PREFECT_API_KEY." : "Set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING.",
  bearer: (isCloud) =>
    isCloud
      ? "The key is wrong, expired or revoked."
      : "A self-hosted server takes PREFECT_API_AUTH_STRING, not a key: is PREFECT_API_URL the right one?",
  custom: () =>
    "Correct or remove that header: while it is there, PREFECT_API_KEY and PREFECT_API_AUTH_STRING are not sent.",
  basic: () =>
    "It is not the server's PREFECT_SERVER_API_AUTH_STRING, or a proxy on the way drops the header `Authorization`.",
};

function gatewayCause(refusal: Refusal, failure: string): string | undefined {
  if (refusal.detail !== undefined) return undefined;
  return `${proxyName(refusal)} is there, but the Prefect server behind it ${failure}: look at that server, and at where the proxy forwards to.`;
}

function proxyName({ server }: Pick<Refusal, "server">): string {
  return server ? `A proxy (${server.slice(0, 40)})` : "A proxy";
}

/** Returns the likely cause if the upgrade to a WebSocket gets the response `status`, and what to do. */
export function causeOfRefusedUpgrade(status: number, contentType: string): string {
  if (status >= 300 && status < 400) {
    return "WebSockets follow no redirect: set PREFECT_API_URL to the URL of the redirect, unless that is the login page of a proxy.";
  }
  // These routes are for WebSockets only. The API answers a plain request for one of them with an error in JSON.
  if (status === 401 && contentType.includes("json")) {
    return `It came as a plain request without credentials: a reverse proxy on the way drops \`Upgrade\` or \`Authorization\`. ${proxyAdvice}`;
  }
  return upgradeCauses[status] ?? "Something on the way does not let WebSockets through.";
}

const proxyAdvice =
  "Let it pass on `Upgrade`, `Connection`, `Authorization` and `Sec-WebSocket-Protocol` (nginx: proxy_http_version 1.1 and proxy_set_header).";
const droppedUpgrade = `It came as a plain request: a reverse proxy on the way drops \`Upgrade\`. ${proxyAdvice}`;
const gatewayUpgrade = "A proxy on the way did not reach the Prefect server, or forwards no WebSockets to it.";

const upgradeCauses: Readonly<Record<number, string>> = {
  200: droppedUpgrade,
  400: droppedUpgrade,
  // A self-hosted server ignores this header on an upgrade, so the 401 is not from the server.
  401: `Where HTTP takes the same credentials, a proxy on the way drops \`Authorization\` from upgrades, or asks for a login of its own. ${proxyAdvice}`,
  403: `The server has no such WebSocket (it is too old), a proxy on the way drops \`Sec-WebSocket-Protocol\`, or does not allow the upgrade. ${proxyAdvice}`,
  404: droppedUpgrade,
  405: droppedUpgrade,
  407: proxyLogin,
  426: droppedUpgrade,
  502: gatewayUpgrade,
  503: gatewayUpgrade,
  504: gatewayUpgrade,
};

/**
 * Returns the likely cause of a failed connection, by Node's error code. Returns null for a code that is not in the
 * table.
 */
export function causeOfLostConnection(code: string): string | null {
  return connectionCauses[code] ?? null;
}

const noHttp = "The other side speaks no HTTP on this port: check scheme and port of PREFECT_API_URL.";

const connectionCauses: Readonly<Record<string, string>> = {
  ENOTFOUND:
    "There is no host of this name: check its spelling in PREFECT_API_URL, and the name servers of this machine.",
  EAI_AGAIN: "The name servers of this machine do not answer.",
  ECONNREFUSED: "Nothing listens on this port: start the server, or check host and port in PREFECT_API_URL.",
  ECONNRESET: "The other side closed the connection: a firewall may do so, or a port that speaks another protocol.",
  EHOSTUNREACH: "No route leads to this host: check the network, a VPN or a firewall.",
  ENETUNREACH: "No route leads to this host: check the network, a VPN or a firewall.",
  ETIMEDOUT: "There is no reply: a firewall drops the packets, or the address is wrong.",
  // These two codes are made in http-request.ts. The connection is open, so network and address are right.
  RESPONSE_TIMEOUT:
    "The connection is there, but no answer comes: the server is overloaded or hangs. Where some requests are answered and some are not, one of several servers behind a proxy is dead: look at each of them.",
  BUSY_TIMEOUT: "Other requests wait for their answers: the server is overloaded or hangs.",
  EPROTO: "The other side speaks no TLS on this port: is the scheme http?",
  HPE_INVALID_CONSTANT: noHttp,
  HPE_INVALID_VERSION: noHttp,
};
