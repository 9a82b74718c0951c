// Certificates of a certificate authority that lives as long as a test, made by the test environment's Python.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "./checkout.ts";
import { ensurePythonEnvironment } from "./python-environment.ts";
import { runCommand } from "./run-command.ts";
import { makeTemporaryDirectory, type TemporaryDirectory } from "./temporary-directory.ts";

/** What a TLS server presents, in PEM. */
export interface ServerCertificate {
  cert: string;
  key: string;
}

/** An authority nobody knows. Disposing removes its folder. */
export interface Authority extends AsyncDisposable {
  /** Its own certificate, in PEM. */
  ca: string;
  /** The file that holds it. */
  caFile: string;
  /** A file in its folder. */
  writeFile(name: string, text: string): Promise<string>;
  /** For 127.0.0.1 and localhost. */
  good: ServerCertificate;
  /** The same, but no longer valid. */
  expired: ServerCertificate;
  /** For another host. */
  elsewhere: ServerCertificate;
}

/** Makes the authority and its certificates. */
export async function makeAuthority(): Promise<Authority> {
  const { python } = await ensurePythonEnvironment(console.error);
  const directory: TemporaryDirectory = await makeTemporaryDirectory("lictor-certificates-");
  const script = inCheckout("test/support/make-certificates.py");
  const { code, stderr } = await runCommand(python, [script, directory.path]);
  if (code !== 0) throw new Error(`${script}: exit ${code}\n${stderr}`);
  const read = (name: string) => readFile(join(directory.path, name), "utf8");
  const pair = async (name: string) => ({ cert: await read(`${name}.pem`), key: await read(`${name}.key`) });
  return {
    ca: await read("ca.pem"),
    caFile: join(directory.path, "ca.pem"),
    async writeFile(name, text) {
      const file = join(directory.path, name);
      await writeFile(file, text);
      return file;
    },
    good: await pair("good"),
    expired: await pair("expired"),
    elsewhere: await pair("elsewhere"),
    [Symbol.asyncDispose]: directory[Symbol.asyncDispose],
  };
}
