// Images as an archive in Docker's format, which containerd imports. No registry is needed.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runOrThrow } from "./run-command.ts";

/** What containers of an image have, besides its files. */
export interface ImageConfig {
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
}

/** Writes `<folder>/images.tar` with images that all consist of the files below `root`. Returns its path. */
export async function writeImages(
  folder: string,
  root: string,
  images: Readonly<Record<string, ImageConfig>>,
): Promise<string> {
  const content = join(folder, "images");
  await mkdir(content, { recursive: true });
  const layer = join(content, "layer.tar");
  await runOrThrow("tar", ["-C", root, "-cf", layer, "."]);
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(layer)) hash.update(chunk as Buffer);
  const rootfs = { type: "layers", diff_ids: [`sha256:${hash.digest("hex")}`] };
  const manifest: object[] = [];
  for (const [name, config] of Object.entries(images)) {
    const file = `${manifest.length}.json`;
    const architecture = process.arch === "x64" ? "amd64" : process.arch;
    await writeFile(join(content, file), JSON.stringify({ architecture, os: "linux", config, rootfs }));
    manifest.push({ Config: file, RepoTags: [name], Layers: ["layer.tar"] });
  }
  await writeFile(join(content, "manifest.json"), JSON.stringify(manifest));
  const archive = join(folder, "images.tar");
  await runOrThrow("tar", ["-C", content, "-cf", archive, "."]);
  return archive;
}
