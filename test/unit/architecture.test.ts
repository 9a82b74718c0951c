// Reads the imports of src/ and keeps the drawing in ARCHITECTURE.md true.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { inCheckout } from "../support/checkout.ts";

/** What each folder may import from, beside itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  cli: ["doctor", "worker", "run", "infrastructure", "api", "sockets", "engine", "process", "settings", "async", "."],
  doctor: ["api", "sockets", "engine", "process", "settings", "async", "."],
  worker: ["page", "run", "infrastructure", "api", "sockets", "engine", "async", "."],
  run: ["infrastructure", "api", "process", "engine", "async", "."],
  infrastructure: ["run", "api", "process", "engine", "async", "."],
  api: ["settings", "async", "."],
  sockets: ["api", "settings", "async", "."],
  process: ["async", "."],
  engine: ["process", "async", "."],
  settings: ["async", "."],
  page: [],
  async: [],
  ".": ["async"],
};

/** Every import between files of src/, as folder names; those of types only are marked. */
async function readImports(): Promise<{ file: string; from: string; to: string; typeOnly: boolean }[]> {
  const root = inCheckout("src");
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith(".ts"));
  const imports = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(root, file), "utf8");
      return [...text.matchAll(/^(import|export) (type )?[^;]*?from "(\.[^"]+\.ts)";/gm)].map((match) => ({
        file,
        from: dirname(file).split("/")[0] ?? ".",
        to: dirname(relative(root, join(root, dirname(file), match[3] ?? ""))).split("/")[0] ?? ".",
        typeOnly: match[2] !== undefined,
      }));
    }),
  );
  return imports.flat();
}

describe("src", () => {
  test("imports downwards only", async () => {
    const imports = await readImports();
    expect(imports.length).toBeGreaterThan(100);
    const wrong = imports.filter(({ from, to }) => from !== to && !ALLOWED[from]?.includes(to));
    expect(wrong).toEqual([]);
  });

  test("knows infrastructure in a flow run's life by types only", async () => {
    const imports = await readImports();
    expect(imports.filter(({ from, to, typeOnly }) => from === "run" && to === "infrastructure" && !typeOnly)).toEqual(
      [],
    );
  });
});
