// What `lictor doctor` says about certificates, and about proxies that the environment names.
import { expect, inject, test } from "vitest";
import { makeAuthority } from "../support/certificates.ts";
import { startForwardProxy } from "../support/forward-proxy.ts";
import { startTlsGateway } from "../support/tls-gateway.ts";
import { runDoctor } from "./run-doctor.ts";

test("a certificate of an own authority passes when it is trusted, and is told from others", async () => {
  await using authority = await makeAuthority();
  await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
  const env = { PREFECT_API_URL: gateway.apiUrl };

  const trusted = await runDoctor({ ...env, PREFECT_API_SSL_CERT_FILE: authority.caFile });
  expect(trusted.code).toBe(0);
  // It ends tomorrow.
  expect(trusted.find("TLS")).toMatchObject({
    status: "warn",
    message: expect.stringMatching(/^TLSv1\.\d; certificate for localhost, 127\.0\.0\.1, by .+, until .+GMT$/),
    advice: "Renew the certificate of the server.",
  });
  expect(trusted.named("pass")).toEqual(expect.arrayContaining(["/events/in", "/events/out"]));

  const strange = await runDoctor(env);
  expect(strange.named("fail")).toEqual(["TLS"]);
  expect(strange.find("TLS").advice).toMatch(/authority that is not trusted.*PREFECT_API_SSL_CERT_FILE/);
  expect(strange.find("TCP").status).toBe("pass");

  const blind = await runDoctor({ ...env, PREFECT_API_TLS_INSECURE_SKIP_VERIFY: "true" });
  expect(blind.code).toBe(0);
  expect(blind.named("warn")).toEqual(["settings", "TLS"]);
});

test.each([
  ["expired", /^The certificate has expired/],
  ["elsewhere", /^The certificate is for other host names/],
] as const)("a certificate that is %s fails", async (which, advice) => {
  await using authority = await makeAuthority();
  await using gateway = await startTlsGateway(inject("apiUrl"), authority[which]);
  const diagnosis = await runDoctor({
    PREFECT_API_URL: gateway.apiUrl,
    PREFECT_API_SSL_CERT_FILE: authority.caFile,
  });
  expect(diagnosis.named("fail")).toEqual(["TLS"]);
  expect(diagnosis.find("TLS").advice).toMatch(advice);
});

test("https to a port without TLS fails", async () => {
  const diagnosis = await runDoctor({ PREFECT_API_URL: inject("apiUrl").replace("http:", "https:") });
  expect(diagnosis.named("fail")).toEqual(["TLS"]);
  expect(diagnosis.find("TLS").advice).toMatch(/no TLS on this port/);
});

test("a proxy is named and used for all, sockets included", async () => {
  await using authority = await makeAuthority();
  await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
  await using proxy = await startForwardProxy({ credentials: "someone:marked-password" });
  const env = {
    PREFECT_API_URL: gateway.apiUrl,
    PREFECT_API_SSL_CERT_FILE: authority.caFile,
    HTTPS_PROXY: proxy.urlWith("someone:marked-password"),
  };
  const used = await runDoctor(env);
  expect(used.code).toBe(0);
  expect(used.find("proxy").message).toBe(`${proxy.url}, named by HTTPS_PROXY`);
  expect(used.find("TCP").message).toMatch(/^connected to the proxy at /);
  expect(used.named("pass")).toEqual(expect.arrayContaining(["authentication", "/events/in", "/events/out"]));
  expect(used.find("TLS").message).toContain("certificate for localhost, 127.0.0.1");
  expect(proxy.tunnels.length).toBeGreaterThan(2);

  const tunnels = proxy.tunnels.length;
  const around = await runDoctor({ ...env, NO_PROXY: "127.0.0.1" });
  expect(around.find("proxy").message).toBe("none: NO_PROXY excepts 127.0.0.1 from HTTPS_PROXY");
  expect(proxy.tunnels).toHaveLength(tunnels);

  const refused = await runDoctor({ ...env, HTTPS_PROXY: proxy.urlWith("someone:marked-wrong") });
  expect(refused.named("fail")).toEqual(["TLS"]);
  expect(refused.find("TLS").message).toMatch(/^the proxy .* refused the user and password in HTTPS_PROXY \(407\)/);
  expect(used.output + around.output + refused.output).not.toContain("marked");
});

test("a proxy that asks for credentials is told from the server for a plain URL too", async () => {
  await using proxy = await startForwardProxy({ credentials: "someone:marked-password" });
  const diagnosis = await runDoctor({ PREFECT_API_URL: inject("apiUrl"), HTTP_PROXY: proxy.url });
  expect(diagnosis.named("fail")).toEqual(["health"]);
  expect(diagnosis.find("health").message).toMatch(/asks for credentials \(407\)\. Set HTTP_PROXY=/);
});
