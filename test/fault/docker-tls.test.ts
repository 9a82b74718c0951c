// The client of the container engine over TLS. `test/docker/connections.test.ts` has a real engine.
import { createServer } from "node:https";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Engine } from "../../src/infrastructure/docker/engine/engine.ts";
import type { TlsFiles } from "../../src/infrastructure/docker/engine/engine-address.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { type LoopbackListener, listenOnLoopback } from "../support/listen-on-loopback.ts";

describe.each(["TLSv1.2", "TLSv1.3"] as const)("an engine that speaks %s", (maxVersion) => {
  let [authority, other]: Authority[] = [];
  let listener: LoopbackListener;

  beforeAll(async () => {
    [authority, other] = [await makeAuthority(), await makeAuthority()];
    const tls = { ...authority.good, ca: authority.ca, requestCert: true, rejectUnauthorized: true, maxVersion };
    const version = { Version: "20.10.24", ApiVersion: "1.41", ID: "x" };
    listener = await listenOnLoopback(createServer(tls, (_, response) => response.end(JSON.stringify(version))));
  });

  afterAll(async () => {
    await listener?.stop();
    for (const each of [authority, other]) await each?.[Symbol.asyncDispose]();
  });

  const clientOf = (files: Omit<TlsFiles, "rejectUnauthorized">) => {
    const { host, hostname, port } = new URL(listener.origin);
    const address = { host: `tcp://${host}`, socketPath: null, baseUrl: `https://${host}` };
    const tls = { ...files, rejectUnauthorized: true };
    return new Engine({ ...address, tcp: { hostname, port: Number(port) }, tls }, 5_000);
  };

  test("answers a client with a certificate of its authority", async () => {
    const client = clientOf({ ca: authority?.ca ?? "", ...authority?.good });
    expect(await client.request("GET", "/info")).toMatchObject({ ID: "x" });
  });

  test.each<[string, () => Omit<TlsFiles, "rejectUnauthorized">, RegExp]>([
    [
      "without a certificate",
      () => ({ ca: authority?.ca ?? "" }),
      /It asks for a certificate that it trusts\. Put cert\.pem/,
    ],
    [
      "that trusts another authority",
      () => ({ ca: other?.ca ?? "", ...authority?.good }),
      /Its certificate is not trusted\. Put the certificate of its authority into ca\.pem/,
    ],
  ])("and a client %s: the message says what to do", async (_, filesOf, expected) => {
    await expect(clientOf(filesOf()).request("GET", "/info")).rejects.toThrow(expected);
  });
});
