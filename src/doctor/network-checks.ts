// Checks of the network to the API, layer by layer: proxy, DNS, TCP, TLS.
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { request } from "node:https";
import { connect, isIP } from "node:net";
import type { TLSSocket } from "node:tls";
import { causeOfLostConnection } from "../api/causes.ts";
import { causeOfTlsFailure } from "../api/tls-causes.ts";
import { monotonicMs, wallClockMs } from "../async/clock.ts";
import { chooseProxy } from "../settings/proxy.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

/** The checks in the order of their output. Each needs the one before it. */
export const networkChecks: readonly Check[] = [
  { name: "proxy", needs: "credentials", run: checkProxy },
  { name: "DNS", needs: "proxy", run: checkName },
  { name: "TCP", needs: "DNS", run: checkConnection },
  { name: "TLS", needs: "TCP", run: checkTls },
];

/** A certificate that expires sooner causes a warning, because most are renewed a month before they expire. */
const minValidDays = 14;

async function checkProxy(examination: Examination): Promise<Finding[]> {
  const { url, proxy } = await findRoute(examination);
  if (proxy) return [pass("proxy", `${proxy.url}, named by ${proxy.variable}`)];
  const skippedProxy = chooseProxy(url, { ...examination.env, no_proxy: "" });
  return [
    pass("proxy", skippedProxy ? `none: NO_PROXY excepts ${url.hostname} from ${skippedProxy.variable}` : "none"),
  ];
}

async function checkName(examination: Examination): Promise<Finding[]> {
  const { host } = await findRoute(examination);
  if (isIP(host) !== 0) return [pass("DNS", `not needed: ${host} is an address`)];
  try {
    const addresses = await lookup(host, { all: true });
    return [pass("DNS", `${host} is ${addresses.map(({ address }) => address).join(", ")}`)];
  } catch (error) {
    return [unreachable("DNS", `${host} is not found`, error)];
  }
}

async function checkConnection(examination: Examination): Promise<Finding[]> {
  const { host, port, proxy } = await findRoute(examination);
  const startedAt = monotonicMs();
  const socket = connect({ host, port, signal: examination.signal });
  try {
    await once(socket, "connect");
    const elapsedMs = Math.ceil(monotonicMs() - startedAt);
    return [pass("TCP", `connected to ${proxy ? "the proxy at " : ""}${host}:${port} in ${elapsedMs} ms`)];
  } catch (error) {
    examination.signal.throwIfAborted();
    return [unreachable("TCP", `no connection to ${host}:${port}`, error)];
  } finally {
    socket.destroy();
  }
}

function unreachable(name: string, message: string, error: unknown): Finding {
  const { code = "" } = error as NodeJS.ErrnoException;
  return fail(name, `${message} (${code})`, causeOfLostConnection(code));
}

/** Checks the certificate of the API, through the proxy if there is one. Sends nothing after the handshake. */
async function checkTls(examination: Examination): Promise<Finding[]> {
  const { url, agents } = await findRoute(examination);
  if (url.protocol !== "https:") return [pass("TLS", "none: the URL begins with http://")];
  const { agent } = await agents.route(url, "request");
  // The signal ends both the request and the wait for its socket.
  const probe = request(url, { agent, signal: examination.signal }).on("error", () => {});
  try {
    const [socket] = (await once(probe, "socket")) as [TLSSocket & { secureConnecting: boolean }];
    if (socket.secureConnecting) await once(socket, "secureConnect");
    return [describeCertificate(socket)];
  } catch (error) {
    examination.signal.throwIfAborted();
    const { code = "", message } = error as NodeJS.ErrnoException;
    return [fail("TLS", message.replace(/\s+/g, " ").trim(), causeOfTlsFailure(code) ?? causeOfLostConnection(code))];
  } finally {
    probe.destroy();
  }
}

function describeCertificate(socket: TLSSocket): Finding {
  const { subject, subjectaltname, issuer, valid_to: until } = socket.getPeerCertificate();
  const names = subjectaltname?.replaceAll(/(DNS|IP Address):/g, "") ?? subject?.CN;
  const message = `${socket.getProtocol()}; certificate for ${names}, by ${issuer?.O ?? issuer?.CN}, until ${until}`;
  if (!socket.authorized) return warn("TLS", `${message}, not verified`, "Let it be verified: see the settings above.");
  const days = (Date.parse(until) - wallClockMs()) / (24 * 3600 * 1000);
  return days < minValidDays ? warn("TLS", message, "Renew the certificate of the server.") : pass("TLS", message);
}

/** Returns the API URL, its proxy, and the host and port to connect to: those of the proxy or of the API. */
async function findRoute({ access }: Examination) {
  const { agents, address } = (await access).api;
  const url = new URL(address.apiUrl);
  const { proxy } = await agents.route(url, "request");
  const first = proxy ? new URL(proxy.url) : url;
  const port = Number(first.port || (first.protocol === "https:" ? 443 : 80));
  return { url, agents, proxy, host: first.hostname.replace(/^\[|\]$/g, ""), port };
}
