// A registry of images in the test process. It has one image and demands a login.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { listenOnLoopback } from "./listen-on-loopback.ts";
import { runCommand } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

/** A running registry. */
export interface Registry extends AsyncDisposable {
  /** Host and port. Engines speak plain HTTP with a registry on a loopback address. */
  host: string;
  /** The name of its image, with the host. */
  image: string;
  login: { username: string; password: string };
}

const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const manifestType = "application/vnd.docker.distribution.manifest.v2+json";

type Content = [type: string, content: Buffer];

/**
 * Starts a registry whose image `private:1` has a shell. Source: the Docker Registry HTTP API V2, and its Image Manifest V2,
 * Schema 2.
 */
export async function startRegistry(): Promise<Registry> {
  const layer = await makeLayer();
  const config = Buffer.from(
    JSON.stringify({
      architecture: architectures[process.arch] ?? process.arch,
      os: "linux",
      config: { Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: [digestOf(layer.tar)] },
    }),
  );
  const describe = (mediaType: string, content: Buffer) => ({
    ...{ mediaType: `application/vnd.docker.${mediaType}`, size: content.length, digest: digestOf(content) },
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: describe("container.image.v1+json", config),
      layers: [describe("image.rootfs.diff.tar.gzip", layer.zipped)],
    }),
  );
  const contents: Record<string, Content> = {
    "/v2/": ["application/json", Buffer.from("{}")],
    "/v2/private/manifests/1": [manifestType, manifest],
    [`/v2/private/manifests/${digestOf(manifest)}`]: [manifestType, manifest],
    [`/v2/private/blobs/${digestOf(config)}`]: ["application/octet-stream", config],
    [`/v2/private/blobs/${digestOf(layer.zipped)}`]: ["application/octet-stream", layer.zipped],
  };
  const login = { username: "someone", password: "registry-pass-word" };
  const expected = `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
  const answer = ({ url = "", method, headers }: IncomingMessage, response: ServerResponse): void => {
    response.setHeader("docker-distribution-api-version", "registry/2.0");
    const isRefused = headers.authorization !== expected;
    if (isRefused) response.setHeader("www-authenticate", 'Basic realm="test"');
    const found = isRefused ? undefined : contents[url];
    const [type, content] = found ?? refusal(isRefused ? "UNAUTHORIZED" : "MANIFEST_UNKNOWN");
    response.writeHead(found ? 200 : isRefused ? 401 : 404, {
      ...{ "content-type": type, "content-length": content.length, "docker-content-digest": digestOf(content) },
    });
    response.end(method === "HEAD" ? undefined : content);
  };
  const listener = await listenOnLoopback(createServer(answer));
  const host = new URL(listener.origin).host;
  return { host, image: `${host}/private:1`, login, [Symbol.asyncDispose]: listener.stop };
}

function refusal(code: string): Content {
  const body = { errors: [{ code, message: code.toLowerCase().replaceAll("_", " ") }] };
  return ["application/json", Buffer.from(JSON.stringify(body))];
}

function digestOf(content: Buffer): string {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

/** Returns a layer with nothing but busybox and its shell. */
async function makeLayer(): Promise<{ tar: Buffer; zipped: Buffer }> {
  await using directory = await makeTemporaryDirectory("lictor-layer-");
  const script = `
    set -e
    mkdir -p root/bin root/tmp
    cp -L "$(command -v busybox)" root/bin/busybox
    ln -s busybox root/bin/sh
    ln -s busybox root/bin/sleep
    tar -C root -cf layer.tar .`;
  const { code, stderr } = await runCommand("sh", ["-c", script], { cwd: directory.path, env: process.env });
  if (code !== 0) throw new Error(`the layer cannot be made: ${stderr}`);
  const tar = await readFile(join(directory.path, "layer.tar"));
  return { tar, zipped: gzipSync(tar) };
}
