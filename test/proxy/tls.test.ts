// A server behind a TLS gateway with a certificate authority of its own.
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { runLictor } from "../support/lictor.ts";
import { startWorker } from "../support/start-worker.ts";
import { startTlsGateway } from "../support/tls-gateway.ts";
import { lines, preparePool, rarePolls, runsByEvent } from "./flow-run.ts";

let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority();
});
afterAll(async () => await authority?.[Symbol.asyncDispose]());

describe("a worker", () => {
  test("trusts the authority of PREFECT_API_SSL_CERT_FILE, over HTTP and sockets", async () => {
    await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
    const prepared = await preparePool();
    await using worker = await startWorker(prepared.pool, {
      apiUrl: gateway.apiUrl,
      env: { PREFECT_API_SSL_CERT_FILE: authority.caFile, ...rarePolls },
    });
    await runsByEvent(prepared, worker);
    expect(worker.stderr).not.toContain("No connection to the events stream");
  });

  test("takes any certificate with PREFECT_API_TLS_INSECURE_SKIP_VERIFY, and warns once", async () => {
    await using gateway = await startTlsGateway(inject("apiUrl"), authority.elsewhere);
    const prepared = await preparePool();
    await using worker = await startWorker(prepared.pool, {
      apiUrl: gateway.apiUrl,
      env: { PREFECT_API_TLS_INSECURE_SKIP_VERIFY: "true", ...rarePolls },
    });
    await runsByEvent(prepared, worker);
    expect(worker.stderr).not.toContain("No connection to the events stream");
    expect(worker.stderr.match(/PREFECT_API_TLS_INSECURE_SKIP_VERIFY is on/g)).toHaveLength(1);
  });

  test.each([
    ["an unknown authority", "good", false, /is not trusted.*set PREFECT_API_SSL_CERT_FILE/],
    ["an expired certificate", "expired", true, /expired: renew it/],
    ["another host's certificate", "elsewhere", true, /DNS:elsewhere\.example.*for other host names/],
  ] as const)("%s ends it with one line, with and without --type", async (_title, name, isTrusted, message) => {
    await using gateway = await startTlsGateway(inject("apiUrl"), authority[name]);
    const env = {
      PREFECT_API_URL: gateway.apiUrl,
      ...(isTrusted ? { PREFECT_API_SSL_CERT_FILE: authority.caFile } : {}),
    };
    for (const type of [[], ["--type", "process"]]) {
      const refused = await runLictor(["worker", "start", "--pool", "any", ...type], { env });
      expect(refused.code).toBe(1);
      expect(lines(refused.stderr)).toEqual([expect.stringMatching(message)]);
      expect(refused.stderr).toMatch(/^https:\/\/127\.0\.0\.1:\d+: /);
    }
  });
});

describe("the file of certificates", () => {
  test("may be named by SSL_CERT_FILE, and may hold text beside the certificates", async () => {
    await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
    const file = await authority.writeFile(
      "commented.pem",
      `# ours\n${authority.elsewhere.cert}\n# that's it\n${authority.ca}`,
    );
    const { code, stdout } = await runLictor(["version"], {
      env: { PREFECT_API_URL: gateway.apiUrl, SSL_CERT_FILE: file },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/Server version: +3\./);
  });

  test.each([
    ["is not there", "PREFECT_API_SSL_CERT_FILE", undefined, /from the environment: .*cannot be read \(ENOENT\)/],
    ["is empty", "PREFECT_API_SSL_CERT_FILE", "", /from the environment: .*holds no certificate/],
    ["is something else", "SSL_CERT_FILE", "Hello\n", /^SSL_CERT_FILE: .*holds no certificate/],
    ["holds a key", "SSL_CERT_FILE", "key", /^SSL_CERT_FILE: .*holds no certificate/],
  ] as const)("is an error of one line where it %s", async (_title, variable, text, message) => {
    const content = text === "key" ? authority.good.key : text;
    const file = content === undefined ? "/nowhere/ca.pem" : await authority.writeFile("bad.pem", content);
    const { code, stderr } = await runLictor(["worker", "start", "--pool", "any"], {
      env: { PREFECT_API_URL: "https://127.0.0.1:1/api", [variable]: file },
    });
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});
