// The way to the API, layer by layer: proxy, name, TCP, TLS.
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { request } from "node:https";
import { connect, isIP } from "node:net";
import type { TLSSocket } from "node:tls";
import { causeOfLostConnection } from "../api/causes.ts";
import { causeOfTlsFailure } from "../api/tls-causes.ts";
import { wallClockMs } from "../async/clock.ts";
import { chooseProxy } from "../settings/proxy.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

/** In their order; each needs the one before it. */
export const networkChecks: readonly Check[] = [
  { name: "proxy", needs: "credentials", run: checkProxy },
  { name: "DNS", needs: "proxy", run: checkName },
  { name: "TCP", needs: "DNS", run: checkConnection },
  { name: "TLS", needs: "TCP", run: checkTls },
];

/** A certificate that expires sooner is worth a warning, because most are renewed a month before. */
const shortDays = 14;

async function checkProxy(examination: Examination): Promise<Finding[]> {
  const { url, proxy } = await findWay(examination);
  if (proxy) return [pass("proxy", `${proxy.url}, named by ${proxy.variable}`)];
  const passedBy = chooseProxy(url, { ...examination.env, no_proxy: "" });
  return [pass("proxy", passedBy ? `none: NO_PROXY excepts ${url.hostname} from ${passedBy.variable}` : "none")];
}

async function checkName(examination: Examination): Promise<Finding[]> {
  const { host } = await findWay(examination);
  if (isIP(host) !== 0) return [pass("DNS", `not needed: ${host} is an address`)];
  try {
    const addresses = await lookup(host, { all: true });
    return [pass("DNS", `${host} is ${addresses.map(({ address }) => address).join(", ")}`)];
  } catch (error) {
    return [unreachable("DNS", `${host} is not found`, error)];
  }
}

async function checkConnection(examination: Examination): Promise<Finding[]> {
  const { host, port, proxy } = await findWay(examination);
  const startedAt = performance.now();
  const socket = connect({ host, port, signal: examination.signal });
  try {
    await once(socket, "connect");
    const elapsedMs = Math.ceil(performance.now() - startedAt);
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

/** Looks at the certificate of the API, through the proxy if there is one. Sends nothing after the handshake. */
async function checkTls(examination: Examination): Promise<Finding[]> {
  const { url, agents } = await findWay(examination);
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
  return days < shortDays ? warn("TLS", message, "Renew the certificate of the server.") : pass("TLS", message);
}

async function findWay({ access }: Examination) {
  const { agents, address } = (await access).api;
  const url = new URL(address.apiUrl);
  const { proxy } = await agents.route(url, "request");
  const first = proxy ? new URL(proxy.url) : url;
  const port = Number(first.port || (first.protocol === "https:" ? 443 : 80));
  return { url, agents, proxy, host: first.hostname.replace(/^\[|\]$/g, ""), port };
}
